//! Requests of ioctl(2) that belong to no single device (ioctl_list(2)).
#![expect(missing_docs, reason = "the names are Linux's own")]

pub const FIONREAD: u32 = 0x541b;
pub const FIONBIO: u32 = 0x5421;
pub const FIONCLEX: u32 = 0x5450;
pub const FIOCLEX: u32 = 0x5451;
pub const FIOASYNC: u32 = 0x5452;
pub const FIOQSIZE: u32 = 0x5460;
pub const FIGETBSZ: u32 = 2;
pub const FIBMAP: u32 = 1;
pub const FICLONE: u32 = 0x4004_9409;
pub const FICLONERANGE: u32 = 0x4020_940d;
pub const FIDEDUPERANGE: u32 = 0xc018_9436;
pub const FS_IOC_FIEMAP: u32 = 0xc020_660b;
pub const FS_IOC_GETFLAGS: u32 = 0x8004_6601;
pub const FS_IOC_SETFLAGS: u32 = 0x4004_6602;
pub const FS_IOC_GETVERSION: u32 = 0x8004_7601;

/// Requests about files that some file system answers, and others refuse.
pub const ANSWERED: &[u32] = &[
    FIGETBSZ,
    FICLONE,
    FICLONERANGE,
    FIDEDUPERANGE,
    FS_IOC_FIEMAP,
    FS_IOC_GETFLAGS,
    FS_IOC_SETFLAGS,
    FS_IOC_GETVERSION,
];

/// The name of a request that programs make, if it is a common one.
pub fn name(request: u32) -> Option<&'static str> {
    NAMES.iter().find(|(number, _)| *number == request).map(|(_, name)| *name)
}

/// Numbers and names, from Linux's headers.
const NAMES: &[(u32, &str)] = &[
    (0x5419, "TIOCGSOFTCAR"),
    (0x541c, "TIOCLINUX"),
    (0x541e, "TIOCGSERIAL"),
    (0x541f, "TIOCSSERIAL"),
    (0x5423, "TIOCSETD"),
    (0x5424, "TIOCGETD"),
    (0x5425, "TCSBRKP"),
    (0x5427, "TIOCSBRK"),
    (0x5428, "TIOCCBRK"),
    (0x542e, "TIOCGRS485"),
    (0x5432, "TCGETX"),
    (0x5437, "TIOCVHANGUP"),
    (0x545d, "TIOCGICOUNT"),
    (0x8004_5432, "TIOCGDEV"),
    (0x8004_5438, "TIOCGPKT"),
    (0x8004_5439, "TIOCGPTLCK"),
    (0x8004_5440, "TIOCGEXCL"),
    (0x4b2f, "KIOCSOUND"),
    (0x4b30, "KDMKTONE"),
    (0x4b31, "KDGETLED"),
    (0x4b32, "KDSETLED"),
    (0x4b33, "KDGKBTYPE"),
    (0x4b3a, "KDSETMODE"),
    (0x4b3b, "KDGETMODE"),
    (0x4b40, "GIO_SCRNMAP"),
    (0x4b44, "KDGKBMODE"),
    (0x4b45, "KDSKBMODE"),
    (0x4b46, "KDGKBENT"),
    (0x4b47, "KDSKBENT"),
    (0x4b48, "KDGKBSENT"),
    (0x4b60, "GIO_FONT"),
    (0x4b61, "PIO_FONT"),
    (0x4b62, "KDGKBMETA"),
    (0x4b64, "KDGKBLED"),
    (0x4b66, "GIO_UNIMAP"),
    (0x4b67, "PIO_UNIMAP"),
    (0x4b6b, "GIO_FONTX"),
    (0x4b72, "KDFONTOP"),
    (0x5600, "VT_OPENQRY"),
    (0x5601, "VT_GETMODE"),
    (0x5602, "VT_SETMODE"),
    (0x5603, "VT_GETSTATE"),
    (0x5605, "VT_RELDISP"),
    (0x5606, "VT_ACTIVATE"),
    (0x5607, "VT_WAITACTIVE"),
    (0x5608, "VT_DISALLOCATE"),
    (0x4600, "FBIOGET_VSCREENINFO"),
    (0x4602, "FBIOGET_FSCREENINFO"),
    (0x125d, "BLKROGET"),
    (0x125f, "BLKRRPART"),
    (0x1260, "BLKGETSIZE"),
    (0x1261, "BLKFLSBUF"),
    (0x1268, "BLKSSZGET"),
    (0x127b, "BLKPBSZGET"),
    (0x8008_1272, "BLKGETSIZE64 (64-bit)"),
    (0x8004_1272, "BLKGETSIZE64"),
    (0x4c00, "LOOP_SET_FD"),
    (0x4c01, "LOOP_CLR_FD"),
    (0x4c04, "LOOP_SET_STATUS64"),
    (0x4c05, "LOOP_GET_STATUS64"),
    (0x4c0a, "LOOP_CONFIGURE"),
    (0x4c82, "LOOP_CTL_GET_FREE"),
    (0x0301, "HDIO_GETGEO"),
    (0x030d, "HDIO_GET_IDENTITY"),
    (0x5326, "CDROM_DRIVE_STATUS"),
    (0x5382, "SCSI_IOCTL_GET_IDLUN"),
    (0x2285, "SG_IO"),
    (0x2282, "SG_GET_VERSION_NUM"),
    (0x8004_5200, "RNDGETENTCNT"),
    (0x4004_5201, "RNDADDTOENTCNT"),
    (0x400c_5203, "RNDADDENTROPY"),
    (0x801c_581f, "FS_IOC_FSGETXATTR"),
    (0x401c_5820, "FS_IOC_FSSETXATTR"),
    (0xc018_5879, "FITRIM"),
    (0xc004_5877, "FIFREEZE"),
    (0x4004_54ca, "TUNSETIFF"),
    (0x8004_54cf, "TUNGETFEATURES"),
    (0x8024_7009, "RTC_RD_TIME"),
    (0x4024_700a, "RTC_SET_TIME"),
    (0x8004_4d00, "SOUND_MIXER_READ_VOLUME"),
    (0xc004_5005, "SNDCTL_DSP_SETFMT"),
    (0xc004_5002, "SNDCTL_DSP_SPEED"),
    (0xc040_6400, "DRM_IOCTL_VERSION"),
    (0x8906, "SIOCGSTAMP"),
    (0x8940, "SIOCGIFBR"),
    (0x8946, "SIOCETHTOOL"),
    (0x8947, "SIOCGMIIPHY"),
    (0x8953, "SIOCDARP"),
    (0x8954, "SIOCGARP"),
    (0x8b01, "SIOCGIWNAME"),
    (0x8b1b, "SIOCGIWESSID"),
    (0x89e0, "SIOCPROTOPRIVATE"),
    (0xb701, "NS_GET_USERNS"),
    (0xb703, "NS_GET_NSTYPE"),
    (0x2400, "PERF_EVENT_IOC_ENABLE"),
];
