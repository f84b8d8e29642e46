//! The calls that find images and mount them. Disks have numbers that the caller chooses.

use std::rc::Rc;

use vm_block::BlockError;
use vm_block::remote::{Hash, OpenError};
use vm_machine::{MountError, WebTree};
use vm_rt::{Clock, Timers};
use wasm_bindgen::prelude::*;

use crate::Vm;
use crate::disk::Disk;
use crate::host::PageStore;
use crate::image::{Image, ImageError};
use crate::layers::{Held, Layered};
use crate::overlay::IndexedDbStore;
use crate::vm::{Failure, Inner};

#[wasm_bindgen]
impl Vm {
    /// Finds an image by the kind of its device (`cloud`, `bytes`, `github`); the answer is its identity in hex: the hash of its
    /// manifest, if it has one. A tag must be signed by `key`, if one is given; a private image wants a `token`.
    pub fn find_image(
        &self,
        call: u32,
        disk: u32,
        kind: String,
        image: String,
        key: Option<String>,
        token: Option<String>,
    ) {
        self.later(call, async move |inner| {
            let (image, background) = Image::open(&inner.network(), &kind, &image, key, token).await?;
            if let Some(background) = background {
                inner.machine.spawn(background);
            }
            Ok(inner.keep_image(disk, image))
        });
    }

    /// Shows the store of an image that was found another token from now on.
    pub fn set_token(&self, call: u32, disk: u32, token: String) {
        self.later(call, async move |inner| {
            inner.image(disk)?.set_token(&token)?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Takes the content of an image, or without one makes an empty file system; the answer is its identity.
    pub fn hold_image(&self, call: u32, disk: u32, content: Option<Box<[u8]>>) {
        self.later(call, async move |inner| {
            let held = match content {
                Some(content) => Held::file(&content),
                None => Held::blank().await.map_err(|error| Failure::new("unsupported", &error))?,
            };
            Ok(inner.keep_image(disk, Image::Held(Rc::new(held))))
        });
    }

    /// Puts stored changes over an image that was found; they are only read. The answer is the identity of the two together.
    pub fn add_layer(&self, call: u32, disk: u32, pages: PageStore) {
        self.later(call, async move |inner| {
            let base = inner.image(disk)?;
            let stamp = pages.stamp();
            let changes = IndexedDbStore::new(pages).map_err(|error| Failure::new(block_code(&error), &error))?;
            let layered = Layered::new(base, changes, &stamp);
            Ok(inner.keep_image(disk, Image::Layered(Rc::new(layered))))
        });
    }

    /// Mounts the image that was found, with the changes of `pages` or with room for them in memory. The root comes first.
    pub fn mount(&self, call: u32, disk: u32, point: String, pages: Option<PageStore>) {
        self.later(call, async move |inner| {
            let image = inner.image(disk)?;
            let time: (Timers, Rc<dyn Clock>) = (inner.timers.clone(), inner.clock.clone());
            let opened = Disk::open(&inner.machine, image, pages, &inner.meter, time).await;
            let opened = opened.map_err(|error| Failure::new(block_code(&error), &error))?;
            let mounted = opened.mount_on(&inner.machine, &point).await;
            mounted.map_err(|error| Failure::new(mount_code(&error), &error))?;
            inner.disks.borrow_mut().insert(disk, opened);
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Mounts a tree of files on a web server, read-only.
    pub fn mount_web(&self, call: u32, point: String, url: String) {
        self.later(call, async move |inner| {
            let tree = Rc::new(WebTree::new(inner.network(), &url));
            let mounted = match &point[..] {
                "/" => inner.machine.mount_root_tree(&url, tree).await,
                point => inner.machine.mount_tree(point, &url, tree, true).await,
            };
            mounted.map_err(|error| Failure::new("bad-argument", &error))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Mounts the files that the page hands in with `write_data` under a number, read-only and not to be run.
    pub fn mount_data(&self, call: u32, point: String, device: u32) {
        self.later(call, async move |inner| {
            let tree = inner.data_tree(device);
            let mounted = inner.machine.mount_tree(&point, "data", tree, false).await;
            mounted.map_err(|error| Failure::new("bad-argument", &error))?;
            Ok(JsValue::UNDEFINED)
        });
    }

    /// Takes a file from the page.
    pub fn write_data(&self, call: u32, device: u32, path: String, content: Vec<u8>) {
        self.later(call, async move |inner| {
            let tree = inner.data_tree(device);
            let now = inner.machine.kernel().now_realtime();
            tree.write(&path, content.into(), now).map_err(|errno| Failure::errno(&path, errno))?;
            Ok(JsValue::UNDEFINED)
        });
    }
}

impl Inner {
    fn image(&self, disk: u32) -> Result<Image, Failure> {
        let image = self.images.borrow().get(&disk).cloned();
        image.ok_or_else(|| Failure::new("bad-argument", &"there is no image yet"))
    }

    fn keep_image(&self, disk: u32, image: Image) -> JsValue {
        let identity = Hash::from_bytes(image.identity()).to_string();
        self.images.borrow_mut().insert(disk, image);
        identity.into()
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Argument(text) => Self::new("bad-argument", &text),
            ImageError::Open(error) => Self::new(open_code(&error), &error),
        }
    }
}

fn open_code(error: &OpenError) -> &'static str {
    match error {
        OpenError::Unknown { .. } => "image-not-found",
        OpenError::Unreachable { .. } => "unreachable",
        OpenError::Untrusted { .. } => "image-untrusted",
        OpenError::Denied { .. } => "image-denied",
        _ => "image-corrupt",
    }
}

pub(crate) fn block_code(error: &BlockError) -> &'static str {
    match error {
        BlockError::Fenced => "overlay-lost",
        BlockError::StoreFull => "overlay-full",
        BlockError::Store(_) => "storage-blocked",
        BlockError::WrongBase { .. } => "overlay-mismatch",
        _ => "image-corrupt",
    }
}

fn mount_code(error: &MountError) -> &'static str {
    match error {
        MountError::Tree { .. } => "bad-argument",
        _ => "image-corrupt",
    }
}
