//! File systems whose content is made when it is read: proc and sysfs.
//!
//! A tree is made of [`Entry`]s: a directory tells its names and makes the entry of a name ([`Directory`]), a file makes its
//! text when it is first read, a link its target. A list of [`Fixed`] entries is a directory, so one more file is one line
//! and a function. Nothing is kept in the name cache; inode numbers come from the path.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::Io;

use crate::task::Pid;
use crate::vfs::{Dirent, File, FileSystem, FileType, Inode, IoMode, Metadata, OpenFlags, Path, SetAttr, StatFs};
use crate::{Errno, Result, SyscallCx};

/// Makes a text, at once.
type MakeText = Rc<dyn Fn(&SyscallCx) -> Result<Vec<u8>>>;
/// Makes a text, perhaps waiting for the memory of a process.
type MakeTextLater = Rc<dyn for<'a> Fn(&'a SyscallCx) -> Io<'a, Result<Vec<u8>>>>;
/// Takes what was written.
type TakeText = Rc<dyn Fn(&SyscallCx, &[u8]) -> Result<()>>;
/// Makes where a link leads.
type Jump = Rc<dyn Fn(&SyscallCx) -> Result<Path>>;

/// Opens a file of its own kind.
type OpenSpecial = Rc<dyn Fn(&SyscallCx) -> Result<Rc<dyn File>>>;

/// Something in a generated tree.
pub(crate) enum Entry {
    /// A directory.
    Directory(Rc<dyn Directory>),
    /// A file with its mode.
    File(u32, Content),
    /// A link: its permission bits, its target as text, and where it leads if that is no path.
    Link(u32, MakeText, Option<Jump>),
}

/// What a file does.
#[derive(Clone)]
pub(crate) enum Content {
    /// Text made at once.
    Text(MakeText),
    /// Text whose making may wait.
    Later(MakeTextLater),
    /// Text that can also be written.
    Writable(MakeText, TakeText),
    /// A file of its own kind.
    Special(OpenSpecial),
}

impl Entry {
    /// A file that everybody may read.
    pub(crate) fn text(make: impl Fn(&SyscallCx) -> Result<Vec<u8>> + 'static) -> Self {
        Self::File(0o444, Content::Text(Rc::new(make)))
    }

    /// A file that everybody may read and its owner write.
    pub(crate) fn writable(
        make: impl Fn(&SyscallCx) -> Result<Vec<u8>> + 'static,
        take: impl Fn(&SyscallCx, &[u8]) -> Result<()> + 'static,
    ) -> Self {
        Self::File(0o644, Content::Writable(Rc::new(make), Rc::new(take)))
    }

    /// A link that leads to a path.
    pub(crate) fn link(make: impl Fn(&SyscallCx) -> Result<Vec<u8>> + 'static) -> Self {
        Self::Link(0o777, Rc::new(make), None)
    }

    /// A directory of fixed entries.
    pub(crate) fn fixed(entries: &'static [Fixed]) -> Self {
        Self::Directory(Rc::new(FixedDirectory(entries)))
    }

    fn mode(&self) -> u32 {
        match self {
            Self::Directory(directory) => stat::S_IFDIR | directory.mode(),
            Self::File(mode, _) => stat::S_IFREG | mode,
            Self::Link(mode, ..) => stat::S_IFLNK | mode,
        }
    }
}

/// A directory of a generated tree.
pub(crate) trait Directory {
    /// The entry of a name.
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry>;
    /// All names, in an order that stays.
    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)>;
    /// Permission bits.
    fn mode(&self) -> u32 {
        0o555
    }
    /// Who owns what is in it.
    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        let _ = cx;
        (0, 0)
    }
    /// The process it is about.
    fn process(&self) -> Option<Pid> {
        None
    }
}

/// The process whose directory in /proc this is.
pub(crate) fn process_of(inode: &dyn Inode) -> Option<Pid> {
    let inode: &dyn Any = inode;
    inode.downcast_ref::<GeneratedInode>()?.directory().ok()?.process()
}

/// A name and what makes its entry.
pub(crate) struct Fixed {
    pub(crate) name: &'static str,
    pub(crate) kind: FileType,
    pub(crate) make: fn() -> Entry,
}

/// A file of a fixed directory: its name and the function that makes its text.
macro_rules! file {
    ($name:literal, $make:path) => {
        $crate::fs::generated::Fixed {
            name: $name,
            kind: $crate::vfs::FileType::Regular,
            make: || $crate::fs::generated::Entry::text($make),
        }
    };
    ($name:literal, $make:path, $take:path) => {
        $crate::fs::generated::Fixed {
            name: $name,
            kind: $crate::vfs::FileType::Regular,
            make: || $crate::fs::generated::Entry::writable($make, $take),
        }
    };
}

/// A file of a fixed directory whose text never changes.
macro_rules! constant {
    ($name:literal, $text:expr) => {
        $crate::fs::generated::Fixed {
            name: $name,
            kind: $crate::vfs::FileType::Regular,
            make: || $crate::fs::generated::Entry::text(|_| Ok(Vec::from($text))),
        }
    };
}

/// A directory of a fixed directory.
macro_rules! directory {
    ($name:literal, $entries:expr) => {
        $crate::fs::generated::Fixed {
            name: $name,
            kind: $crate::vfs::FileType::Directory,
            make: || $crate::fs::generated::Entry::fixed($entries),
        }
    };
}

pub(crate) use {constant, directory, file};

struct FixedDirectory(&'static [Fixed]);

impl Directory for FixedDirectory {
    fn lookup(&self, _cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        self.0.iter().find(|entry| entry.name.as_bytes() == name).map(|entry| (entry.make)())
    }

    fn names(&self, _cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        self.0.iter().map(|entry| (entry.name.as_bytes().to_vec(), entry.kind)).collect()
    }
}

/// A mounted generated tree.
pub struct GeneratedFs {
    name: &'static str,
    magic: u32,
    root: Rc<dyn Inode>,
}

const ROOT_INO: u64 = 1;

impl GeneratedFs {
    pub(crate) fn new(name: &'static str, magic: u32, dev: u64, root: Rc<dyn Directory>, now: Timespec) -> Rc<Self> {
        let tree = Rc::new(Tree { dev, made: now });
        let root = Rc::new(GeneratedInode {
            tree,
            ino: ROOT_INO,
            parent: ROOT_INO,
            owner: (0, 0),
            entry: Entry::Directory(root),
        });
        Rc::new(Self { name, magic, root })
    }
}

impl FileSystem for GeneratedFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Rc<dyn Inode> {
        Rc::clone(&self.root)
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        Io::ready(Ok(StatFs { magic: self.magic, block_size: 4096, name_max: 255, ..StatFs::default() }))
    }

    fn cacheable(&self) -> bool {
        false
    }
}

struct Tree {
    dev: u64,
    made: Timespec,
}

struct GeneratedInode {
    tree: Rc<Tree>,
    ino: u64,
    parent: u64,
    owner: (u32, u32),
    entry: Entry,
}

/// An inode number from the directory's and the name, below 2^32 so that 32-bit programs can read it.
fn ino_of(parent: u64, name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ parent;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ((hash >> 32) ^ hash) & 0xffff_ffff | 2
}

impl GeneratedInode {
    fn directory(&self) -> Result<&Rc<dyn Directory>> {
        match &self.entry {
            Entry::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn find(&self, cx: &SyscallCx, name: &[u8]) -> Result<Rc<dyn Inode>> {
        let directory = self.directory()?;
        let entry = directory.lookup(cx, name).ok_or(Errno::ENOENT)?;
        let owner = match &entry {
            Entry::Directory(inner) => inner.owner(cx),
            _ => directory.owner(cx),
        };
        Ok(Rc::new(Self { tree: Rc::clone(&self.tree), ino: ino_of(self.ino, name), parent: self.ino, owner, entry }))
    }
}

impl Inode for GeneratedInode {
    fn metadata(&self) -> Metadata {
        let mode = self.entry.mode();
        let is_dir = mode & stat::S_IFMT == stat::S_IFDIR;
        let Tree { dev, made } = *self.tree;
        Metadata {
            dev,
            ino: self.ino,
            mode,
            nlink: if is_dir { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            block_size: 1024,
            atime: made,
            mtime: made,
            ctime: made,
            ..Metadata::default()
        }
    }

    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        // Opening with O_TRUNC is how shells write to these files.
        let only_size = change.mode.is_none() && change.uid.is_none() && change.gid.is_none();
        Io::ready(if change.size == Some(0) && only_size { Ok(()) } else { Err(Errno::EPERM) })
    }

    fn open<'a>(self: Rc<Self>, cx: &'a SyscallCx, _flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let Entry::File(_, content) = &self.entry else { return Io::ready(Err(Errno::EINVAL)) };
        if let Content::Special(open) = content {
            return Io::ready(open(cx));
        }
        Io::ready(Ok(Rc::new(GeneratedFile { content: content.clone(), text: RefCell::default() }) as Rc<dyn File>))
    }

    fn lookup<'a>(&'a self, cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::ready(self.find(cx, name))
    }

    fn read_dir<'a>(&'a self, cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        let directory = match self.directory() {
            Ok(directory) => directory,
            Err(errno) => return Io::ready(Err(errno)),
        };
        let dot = |name: &[u8], ino| (name.to_vec(), FileType::Directory, ino);
        let dots = [dot(b".", self.ino), dot(b"..", self.parent)];
        let children = directory.names(cx).into_iter().map(|(name, kind)| {
            let ino = ino_of(self.ino, &name);
            (name, kind, ino)
        });
        // The cookie is the place in the list: exact as long as names only come and go behind it, as process numbers do
        // for all but those that read the directory piece by piece.
        let entries = dots.into_iter().chain(children).zip(1..).skip(usize::try_from(cookie).unwrap_or(usize::MAX));
        Io::ready(Ok(entries.map(|((name, kind, ino), next)| Dirent { ino, kind, next, name }).collect()))
    }

    fn read_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Result<Vec<u8>>> {
        Io::ready(match &self.entry {
            Entry::Link(_, make, _) => make(cx),
            _ => Err(Errno::EINVAL),
        })
    }

    fn magic_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Option<Result<Path>>> {
        Io::ready(match &self.entry {
            Entry::Link(_, _, Some(jump)) => Some(jump(cx)),
            _ => None,
        })
    }
}

/// An open file; the text is made when reading starts, and made anew when it starts again.
struct GeneratedFile {
    content: Content,
    text: RefCell<Option<Rc<Vec<u8>>>>,
}

impl GeneratedFile {
    async fn make(&self, cx: &SyscallCx) -> Result<Rc<Vec<u8>>> {
        let text = match &self.content {
            Content::Text(make) | Content::Writable(make, _) => make(cx)?,
            Content::Later(make) => make(cx).await?,
            Content::Special(_) => return Err(Errno::EINVAL),
        };
        let text = Rc::new(text);
        *self.text.borrow_mut() = Some(Rc::clone(&text));
        Ok(text)
    }
}

impl File for GeneratedFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::later(async move {
            let made = self.text.borrow().clone();
            let text = match made {
                Some(text) if mode.offset != 0 => text,
                _ => self.make(cx).await?,
            };
            let rest = usize::try_from(mode.offset).ok().and_then(|offset| text.get(offset..)).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, _mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(match &self.content {
            Content::Writable(_, take) => take(cx, data).map(|()| data.len()),
            _ => Err(Errno::EIO),
        })
    }

    fn seekable(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Text whose making waits, boxed.
pub(crate) fn later<F>(make: impl for<'a> Fn(&'a SyscallCx) -> F + 'static) -> Content
where
    F: Future<Output = Result<Vec<u8>>> + 'static,
{
    Content::Later(Rc::new(move |cx| Io::later(make(cx))))
}

/// The number in a text that was written to a file, such as `1` and a newline.
pub(crate) fn parse_number<T: std::str::FromStr>(text: &[u8]) -> Result<T> {
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Errno::EINVAL)
}
