//! Files of the guest, for the page: the calls behind `skiff.fs` (`npm/fs.js`).
//!
//! Names are bytes, as Linux has them. Open files and watches have numbers; both end with the machine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use js_sys::{Array, Object, Reflect, Uint8Array};
use linux_abi::time::Timespec;
use vm_kernel::Errno;
use vm_kernel::vfs::{FileType, Follow, Metadata, OpenFile};
use vm_machine::FileWatch;
use wasm_bindgen::prelude::*;

use crate::Vm;
use crate::vm::{Failure, Inner};

/// The longest piece read at a time, bytes.
const PIECE: u32 = 1 << 20;
/// Files that are open or handed out and not taken yet, at most.
const OPEN_MAX: usize = 1024;

/// What the page has opened and watches.
#[derive(Default)]
pub(crate) struct Files {
    open: RefCell<HashMap<u32, Rc<OpenFile>>>,
    watches: RefCell<HashMap<u32, FileWatch>>,
    last: Cell<u32>,
}

impl Files {
    fn number(&self) -> u32 {
        self.last.set(self.last.get().wrapping_add(1));
        self.last.get()
    }

    fn add(&self, file: Rc<OpenFile>) -> Result<u32, Errno> {
        let mut open = self.open.borrow_mut();
        if open.len() >= OPEN_MAX {
            return Err(Errno::EMFILE);
        }
        let number = self.number();
        open.insert(number, file);
        Ok(number)
    }

    fn get(&self, number: u32) -> Result<Rc<OpenFile>, Failure> {
        self.open.borrow().get(&number).cloned().ok_or_else(|| Failure::errno("file", Errno::EBADF))
    }
}

#[wasm_bindgen]
impl Vm {
    /// Opens a file with the flags and the mode of open(2); the answer is its number.
    pub fn fs_open(&self, call: u32, path: Box<[u8]>, flags: u32, mode: u32) {
        self.later(call, async move |inner| {
            let file = inner.machine.open_file(&path, flags, mode).await.map_err(failed("open", &path))?;
            Ok(inner.files.add(file).map_err(failed("open", &path))?.into())
        });
    }

    /// Reads at an offset, at most 1 MiB; the answer is a `Uint8Array`, empty at the end.
    pub fn fs_read(&self, call: u32, file: u32, offset: f64, len: u32) {
        self.later(call, async move |inner| {
            let file = inner.files.get(file)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            let offset = offset as u64;
            let data = inner.machine.read_file(&file, offset, len.min(PIECE) as usize).await;
            let data = data.map_err(|errno| failed("read", &file_name(&file))(errno))?;
            Ok(Uint8Array::from(&data[..]).into())
        });
    }

    /// Writes at the file's position.
    pub fn fs_write(&self, call: u32, file: u32, data: Box<[u8]>) {
        self.later(call, async move |inner| {
            let file = inner.files.get(file)?;
            let written = inner.machine.write_file(&file, &data).await;
            written.map_err(|errno| failed("write", &file_name(&file))(errno))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Gives an open file an owner.
    pub fn fs_chown(&self, call: u32, file: u32, uid: u32, gid: u32) {
        self.later(call, async move |inner| {
            let file = inner.files.get(file)?;
            let changed = inner.machine.chown_file(&file, uid, gid).await;
            changed.map_err(|errno| failed("chown", &file_name(&file))(errno))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Closes a file.
    pub fn fs_close(&self, file: u32) {
        let closed = self.inner().files.open.borrow_mut().remove(&file);
        drop(closed);
    }

    /// Attributes of a file, or of the symbolic link itself.
    pub fn fs_stat(&self, call: u32, path: Box<[u8]>, follow: bool) {
        self.later(call, async move |inner| {
            let follow = if follow { Follow::Yes } else { Follow::No };
            let meta = inner.machine.stat_file(&path, follow).await.map_err(failed("stat", &path))?;
            Ok(stat_object(&meta).into())
        });
    }

    /// Entries of a directory: three arrays, of names (bytes), types and inode numbers.
    pub fn fs_read_dir(&self, call: u32, path: Box<[u8]>) {
        self.later(call, async move |inner| {
            let entries = inner.machine.read_directory(&path).await.map_err(failed("readdir", &path))?;
            let names = entries.iter().map(|entry| Uint8Array::from(&entry.name[..])).collect::<Array>();
            let types = entries.iter().map(|entry| JsValue::from_str(type_name(entry.kind))).collect::<Array>();
            let inodes = entries.iter().map(|entry| float(entry.ino)).collect::<Array>();
            Ok(Array::of3(&names, &types, &inodes).into())
        });
    }

    /// Makes a directory, with `parents` also those above it.
    pub fn fs_mkdir(&self, call: u32, path: Box<[u8]>, mode: u32, parents: bool) {
        self.later(call, async move |inner| {
            inner.machine.make_directory(&path, mode, parents).await.map_err(failed("mkdir", &path))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Removes a file or an empty directory, with `recursive` a whole tree.
    pub fn fs_remove(&self, call: u32, path: Box<[u8]>, recursive: bool) {
        self.later(call, async move |inner| {
            inner.machine.remove_file(&path, recursive).await.map_err(failed("rm", &path))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Renames.
    pub fn fs_rename(&self, call: u32, from: Box<[u8]>, to: Box<[u8]>) {
        self.later(call, async move |inner| {
            inner.machine.rename_file(&from, &to).await.map_err(failed("rename", &from))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Watches a file or a directory; the answer is the watch's number, which `Host.fileChanged` gets.
    pub fn fs_watch(&self, call: u32, path: Box<[u8]>) {
        self.later(call, async move |inner| {
            let number = inner.files.number();
            let host = inner.host.clone();
            let changed = move |mask, cookie, name: &[u8]| host.file_changed(number, mask, cookie, name);
            let watch = inner.machine.watch_file(&path, changed).await.map_err(failed("watch", &path))?;
            inner.files.watches.borrow_mut().insert(number, watch);
            Ok(number.into())
        });
    }

    /// Ends a watch.
    pub fn fs_unwatch(&self, watch: u32) {
        let ended = self.inner().files.watches.borrow_mut().remove(&watch);
        drop(ended);
    }

    /// Where the program is that has the foreground of a virtual terminal.
    pub fn place(&self, call: u32, vt: u32) {
        self.later(call, async move |inner| {
            let place = inner.machine.place_at_terminal(vt as usize);
            let place = place.map_err(|errno| Failure::errno(&format!("terminal {vt}"), errno))?;
            let object = Object::new();
            set(&object, "path", &Uint8Array::from(&place.directory[..]));
            set(&object, "uid", &place.uid.into());
            set(&object, "gid", &place.gid.into());
            set(&object, "pid", &place.pid.into());
            Ok(object.into())
        });
    }
}

impl Inner {
    /// Has the page told of every file that a guest program hands out.
    pub(crate) fn take_handouts(inner: &Rc<Self>) {
        let weak = Rc::downgrade(inner);
        inner.machine.on_handout(move |file| {
            let Some(inner) = weak.upgrade() else { return };
            let size = file.inode().metadata().size;
            let name = file_name(&file);
            match inner.files.add(file) {
                Ok(number) => inner.host.handout(number, &name, size as f64),
                Err(errno) => inner.host.notice("download-failed", &format!("a download was dropped: {errno}")),
            }
        });
    }
}

fn file_name(file: &OpenFile) -> Vec<u8> {
    file.path().absolute()
}

/// Words for an error, with the call and the name as strace(1) and Node have them.
fn failed(call: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Failure {
    let what = format!("{call} {}", String::from_utf8_lossy(path));
    move |errno| Failure::errno(&what, errno)
}

fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharDevice => "character-device",
        FileType::BlockDevice => "block-device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    }
}

fn stat_object(meta: &Metadata) -> Object {
    let object = Object::new();
    set(&object, "type", &type_name(meta.file_type()).into());
    for (name, value) in
        [("size", meta.size), ("ino", meta.ino), ("dev", meta.dev), ("rdev", meta.rdev), ("blocks", meta.blocks)]
    {
        set(&object, name, &float(value));
    }
    for (name, value) in [("mode", meta.mode), ("nlink", meta.nlink), ("uid", meta.uid), ("gid", meta.gid)] {
        set(&object, name, &value.into());
    }
    for (name, time) in [("atimeMs", meta.atime), ("mtimeMs", meta.mtime), ("ctimeMs", meta.ctime)] {
        set(&object, name, &milliseconds(time));
    }
    object
}

#[expect(clippy::cast_precision_loss, reason = "JavaScript's dates are milliseconds in a float")]
fn milliseconds(time: Timespec) -> JsValue {
    (time.sec as f64 * 1000.0 + time.nsec as f64 / 1e6).into()
}

#[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are floats")]
fn float(value: u64) -> JsValue {
    (value as f64).into()
}

fn set(object: &Object, name: &str, value: &JsValue) {
    // Setting a property of a new plain object cannot fail.
    let _ = Reflect::set(object, &name.into(), value);
}
