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
