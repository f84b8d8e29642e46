//! Where an image is copied from: a store, or any web server that has one.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use block_proto::{Hash, ImageRef, MAX_OBJECT, Manifest, TagRecord, Version, envelope, key};
use block_store::{Location, Options, Store, StoreError};
use bytes::Bytes;
use vm_block::remote::CacheMode;
use vm_block::remote::native::{HttpClient, NativeOptions};

use super::Area;

/// A tag record is a few hundred bytes.
pub(crate) const TAG_LIMIT: u64 = 64 * 1024;
/// How often something is asked of a web server.
const TRIES: u32 = 4;

/// The name of an image anywhere: as [`ImageRef`], and in buckets `s3://BUCKET[/PREFIX]/name[@tag|@b3:HASH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRef {
    place: Place,
    /// The image's name.
    pub name: String,
    /// Its version.
    pub version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Store(Location),
    Url(String),
}

impl FromStr for OriginRef {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((store, image)) = text.strip_prefix("s3://").and_then(|rest| rest.rsplit_once('/')) {
            let place = Place::Store(format!("s3://{store}").parse()?);
            let ImageRef { name, version, .. } = format!("store/{image}").parse()?;
            return Ok(Self { place, name, version });
        }
        Ok(text.parse::<ImageRef>()?.into())
    }
}

impl From<ImageRef> for OriginRef {
    fn from(image: ImageRef) -> Self {
        let place = match image.store {
            block_proto::Store::Path(path) => Place::Store(Location::Directory(path.into())),
            block_proto::Store::Url(url) => Place::Url(url),
        };
        Self { place, name: image.name, version: image.version }
    }
}

impl fmt::Display for OriginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Store(location) => write!(f, "{location}/{}", self.name)?,
            Place::Url(url) => write!(f, "{url}/{}", self.name)?,
        }
        match &self.version {
            Version::Tag(tag) => write!(f, "@{tag}"),
            Version::Manifest(hash) => write!(f, "@b3:{hash}"),
        }
    }
}

/// Something objects can be read from. Clones share its connections.
#[derive(Clone)]
pub enum Origin {
    /// A part of a directory or bucket.
    Store {
        /// The store.
        store: Store,
        /// The part.
        area: Area,
    },
    /// A web server: its base URL.
    Http(HttpClient, String),
}

impl Origin {
    /// Opens the store that an image is in.
    pub fn open(image: &OriginRef, area: &Area, network: &NativeOptions) -> Result<Self> {
        Ok(match &image.place {
            Place::Store(location) => {
                Self::Store { store: Store::open(location, &Options::default())?, area: area.clone() }
            }
            Place::Url(url) if !area.is_public() => {
                bail!("{url}: what is a tenant's is not read over HTTP here; name its store")
            }
            Place::Url(url) => Self::Http(HttpClient::new(network)?, url.trim_end_matches('/').to_owned()),
        })
    }

    /// Reads what lies under a key; `None` if nothing does.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        match self {
            Self::Store { store, .. } => match store.get(key, limit).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(StoreError::NotFound(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Http(client, base) => {
                let (client, url) = (client.clone(), format!("{base}/{key}"));
                tokio::task::spawn_blocking(move || get(&client, &url, limit)).await?
            }
        }
    }

    /// The key of an object.
    pub fn object_key(&self, hash: &Hash) -> String {
        match self {
            Self::Store { area, .. } => area.object(hash),
            Self::Http(..) => key::object(hash),
        }
    }

    /// Reads an object as it is stored, checked; `None` if it is not there.
    pub async fn stored(&self, hash: Hash) -> Result<Option<Bytes>> {
        let Some(stored) = self.get(&self.object_key(&hash), MAX_OBJECT as u64).await? else { return Ok(None) };
        let checked = stored.clone();
        let opened = tokio::task::spawn_blocking(move || envelope::open(&checked, &hash, MAX_OBJECT).map(drop)).await?;
        opened.with_context(|| format!("object {hash} is corrupt"))?;
        Ok(Some(stored))
    }

    /// Reads what is in an object.
    pub async fn object(&self, hash: Hash) -> Result<Bytes> {
        let stored = self.get(&self.object_key(&hash), MAX_OBJECT as u64).await?;
        let stored = stored.with_context(|| format!("object {hash} is missing"))?;
        let opened = tokio::task::spawn_blocking(move || envelope::open(&stored, &hash, MAX_OBJECT)).await?;
        opened.with_context(|| format!("object {hash} is corrupt"))
    }

    /// Finds the record of an image. One that is named by its manifest gets a record for each tag it is given later.
    pub async fn record(&self, image: &OriginRef) -> Result<TagRecord> {
        let (name, tag) = match &image.version {
            Version::Tag(tag) => (&image.name, tag),
            Version::Manifest(hash) => {
                let manifest = Manifest::parse(&self.object(*hash).await?)?;
                return Ok(TagRecord {
                    name: image.name.clone(),
                    tag: String::new(),
                    manifest: *hash,
                    size: manifest.image_size,
                    created: manifest.created,
                    transport: vec!["ws".to_owned(), "http".to_owned()],
                    endpoints: Vec::new(),
                    sig: None,
                });
            }
        };
        let key = match self {
            Self::Store { area, .. } => area.tag(name, tag),
            Self::Http(..) => key::tag(name, tag),
        };
        let json = self.get(&key, TAG_LIMIT).await?;
        let Some(json) = json else { bail!("{image}: the store has no such image") };
        Ok(TagRecord::parse(&json, name, tag)?)
    }
}

/// GETs a file, patiently.
fn get(client: &HttpClient, url: &str, limit: u64) -> Result<Option<Bytes>> {
    let limit = usize::try_from(limit)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let reason = match client.get(url, CacheMode::Default, limit) {
            Ok(reply) if reply.status == 200 => return Ok(Some(reply.body)),
            Ok(reply) if matches!(reply.status, 404 | 410) => return Ok(None),
            Ok(reply) => format!("status {}", reply.status),
            Err(error) => error.to_string(),
        };
        ensure!(tries < TRIES, "{url}: {reason}");
        std::thread::sleep(std::time::Duration::from_millis(200 << tries));
    }
}
