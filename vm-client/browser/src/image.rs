//! Images of every kind that a page may name.

use std::rc::Rc;

use bytes::Bytes;
use vm_block::remote::plain::{PlainImage, PlainLayout};
use vm_block::remote::{
    Background, BootProfile, OpenError, OpenOptions, Remote, RemoteHost, RemoteStatus, TokenTextError, Touch,
};
use vm_block::{BlockError, ChunkId, Transport, Urgency};

use crate::layers::{Held, Layered};
use crate::network::BrowserNetwork;

/// An open image.
#[derive(Clone)]
pub enum Image {
    /// One of a store: with a manifest, verified.
    Stored(Remote),
    /// An ext2 file on any web server.
    Plain(PlainImage<BrowserNetwork>),
    /// Any other, with the changes of a disk that are only read.
    Layered(Rc<Layered>),
    /// One in memory.
    Held(Rc<Held>),
}

/// What a page named, and could be wrong about.
pub enum ImageError {
    /// The text names no image, or no key.
    Argument(String),
    /// It cannot be opened.
    Open(OpenError),
}

impl Image {
    /// Opens an image by the kind of its device: `cloud`, `bytes` or `github`. The work behind it is to be spawned.
    pub async fn open(
        host: &RemoteHost<BrowserNetwork>,
        kind: &str,
        name: &str,
        key: Option<String>,
        token: Option<String>,
    ) -> Result<(Self, Option<Background>), ImageError> {
        let argument = |error: &dyn std::fmt::Display| ImageError::Argument(error.to_string());
        let key = key.map(|key| key.parse()).transpose().map_err(|error| argument(&error))?;
        let token = token.map(|token| token.parse()).transpose().map_err(|error| argument(&error))?;
        let options = OpenOptions { key, token, ..OpenOptions::default() };
        let layout = match kind {
            "cloud" => {
                let image = name.parse().map_err(|error| argument(&error))?;
                let (remote, background) = Remote::open(host, &image, options).await.map_err(ImageError::Open)?;
                return Ok((Self::Stored(remote), Some(background)));
            }
            "bytes" => PlainLayout::Ranges,
            "github" => PlainLayout::Pieces,
            other => return Err(argument(&format!("there is no kind of image called {other}"))),
        };
        let image = PlainImage::open(host, name, layout, options).await.map_err(ImageError::Open)?;
        Ok((Self::Plain(image), None))
    }

    /// What changes are bound to: the manifest's hash, or that of what is known of a plain file.
    pub fn identity(&self) -> [u8; 32] {
        match self {
            Self::Stored(remote) => *remote.manifest_hash().as_bytes(),
            Self::Plain(image) => *image.identity().as_bytes(),
            Self::Layered(image) => image.identity(),
            Self::Held(image) => image.identity(),
        }
    }

    /// How things stand.
    pub fn status(&self) -> RemoteStatus {
        match self {
            Self::Stored(remote) => remote.status(),
            Self::Plain(image) => image.status(),
            Self::Layered(image) => image.base().status(),
            Self::Held(_) => RemoteStatus::default(),
        }
    }

    /// Tries again at once instead of waiting out delays.
    pub fn retry_now(&self) {
        match self {
            Self::Stored(remote) => remote.retry_now(),
            Self::Plain(image) => image.retry_now(),
            Self::Layered(image) => image.base().retry_now(),
            Self::Held(_) => {}
        }
    }

    /// Shows the store another token from now on.
    pub fn set_token(&self, text: &str) -> Result<(), ImageError> {
        let token = text.parse().map_err(|error: TokenTextError| ImageError::Argument(error.to_string()))?;
        match self {
            Self::Stored(remote) => remote.set_token(token),
            Self::Layered(image) => image.base().set_token(text)?,
            Self::Plain(_) | Self::Held(_) => {
                return Err(ImageError::Argument("only images of a store have tokens".to_owned()));
            }
        }
        Ok(())
    }

    /// The chunks a boot touches, if the image knows, or the store from boots that it was told of.
    pub async fn boot_profile(&self) -> Result<BootProfile, BlockError> {
        match self {
            Self::Stored(remote) => {
                let profile = remote.boot_profile().await?;
                Ok(if profile.entries.is_empty() { remote.recorded_boots().await } else { profile })
            }
            Self::Layered(image) => Box::pin(image.base().boot_profile()).await,
            Self::Plain(_) | Self::Held(_) => Ok(BootProfile::default()),
        }
    }

    /// Tells the store what a boot touched, if it collects that.
    pub fn report_boot(&self, touches: Vec<Touch>) {
        match self {
            Self::Stored(remote) => remote.report_boot(touches),
            Self::Layered(image) => image.base().report_boot(touches),
            Self::Plain(_) | Self::Held(_) => {}
        }
    }
}

impl Transport for Image {
    fn image_size(&self) -> u64 {
        match self {
            Self::Stored(remote) => remote.image_size(),
            Self::Plain(image) => image.image_size(),
            Self::Layered(image) => image.base().image_size(),
            Self::Held(image) => image.image_size(),
        }
    }

    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        match self {
            Self::Stored(remote) => remote.fetch(chunk, urgency).await,
            Self::Plain(image) => image.fetch(chunk, urgency).await,
            Self::Layered(image) => image.fetch(chunk, urgency).await,
            Self::Held(image) => image.fetch(chunk, urgency).await,
        }
    }
}
