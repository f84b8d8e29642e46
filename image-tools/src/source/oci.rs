//! A directory in the OCI image layout: `index.json` points at a manifest, that at a configuration and layers.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use block_proto::section::ImageConfig;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::data::Extent;
use super::{decompress, layers, tree::Files};
use crate::progress::Progress;

/// Manifests and configurations beyond this are nonsense.
const JSON_LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// Adds the image of a layout.
pub(crate) fn add_layout(files: &mut Files, root: &Path, progress: &dyn Progress) -> Result<()> {
    let index = fs::read(root.join("index.json")).with_context(|| format!("{} is no OCI layout", root.display()))?;
    let mut descriptor = choose(serde_json::from_slice(&index).context("index.json")?)?;
    // An index may point at further ones.
    let mut depth = 0;
    while descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
        depth += 1;
        ensure!(depth < 8, "indexes that point at indexes without end");
        let nested = json(root, &descriptor)?;
        descriptor = choose(serde_json::from_value(nested).context("nested index")?)?;
    }
    let manifest: Manifest = serde_json::from_value(json(root, &descriptor)?).context("image manifest")?;
    files.config = config(json(root, &manifest.config)?)?;
    let step = progress.step("reading layers", Some(manifest.layers.len() as u64));
    for layer in &manifest.layers {
        let blob = blob(root, layer)?;
        let archive = decompress::open_extent(&blob).with_context(|| format!("layer {}", layer.digest))?;
        layers::add_layer(files, &archive).with_context(|| format!("layer {}", layer.digest))?;
        step.advance(1);
    }
    Ok(())
}

/// The one image there is, or the one for our processor.
fn choose(index: Index) -> Result<Descriptor> {
    let ours = |descriptor: &&Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && matches!(platform.architecture.as_str(), "386" | "i386"))
    };
    match &index.manifests[..] {
        [] => bail!("the layout has no image"),
        [only] => Ok(only.clone()),
        many => many.iter().find(ours).cloned().context("none of the layout's images is for linux/386"),
    }
}

fn json(root: &Path, descriptor: &Descriptor) -> Result<Value> {
    let bytes = blob(root, descriptor)?.bytes(JSON_LIMIT).with_context(|| descriptor.digest.clone())?;
    serde_json::from_slice(&bytes).with_context(|| descriptor.digest.clone())
}

/// Opens a blob and verifies that it is what its name says.
fn blob(root: &Path, descriptor: &Descriptor) -> Result<Extent> {
    let digest = &descriptor.digest;
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let hex = hex.with_context(|| format!("{digest} is no SHA-256 digest"))?;
    let path = root.join("blobs/sha256").join(hex);
    let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    let actual: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(actual == hex.to_ascii_lowercase(), "{} is damaged: it hashes to {actual}", path.display());
    Ok(Extent::whole(file)?)
}

/// What an image's configuration says about its processes. Absent lists are written as null by some tools.
pub(super) fn config(mut json: Value) -> Result<ImageConfig> {
    let mut config = json.get_mut("config").map(Value::take).unwrap_or_default();
    if let Value::Object(fields) = &mut config {
        fields.retain(|_, value| !value.is_null());
    } else {
        return Ok(ImageConfig::default());
    }
    serde_json::from_value(config).context("image configuration")
}
