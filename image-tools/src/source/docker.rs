//! What `docker save` writes: a tar of layers, with `manifest.json` to say which.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::data::Extent;
use super::tar::{self, Kind};
use super::tree::{Files, components};
use super::{decompress, layers, oci};
use crate::progress::Progress;

const JSON_LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Adds the image of an archive.
pub(crate) fn add_archive(files: &mut Files, path: &Path, progress: &dyn Progress) -> Result<()> {
    let archive = decompress::open(path, progress)?;
    let members = members(&archive)?;
    let find = |name: &str| {
        let found = components(name.as_bytes()).ok().and_then(|parts| members.get(&parts.join(&b'/')).cloned());
        found.with_context(|| format!("the archive has no {name}"))
    };
    let manifest = find("manifest.json").context("this is not what `docker save` writes")?;
    let images: Vec<Image> = serde_json::from_slice(&manifest.bytes(JSON_LIMIT)?).context("manifest.json")?;
    let image = match &images[..] {
        [image] => image,
        [] => bail!("the archive has no image"),
        many => {
            let tags: Vec<&str> =
                many.iter().flat_map(|image| image.repo_tags.iter().flatten()).map(String::as_str).collect();
            bail!("the archive has several images ({}); save one of them", tags.join(", "));
        }
    };
    let config = find(&image.config)?.bytes(JSON_LIMIT)?;
    files.config = oci::config(serde_json::from_slice(&config).context("image configuration")?)?;
    let step = progress.step("reading layers", Some(image.layers.len() as u64));
    for name in &image.layers {
        let layer = decompress::open_extent(&find(name)?).with_context(|| format!("layer {name}"))?;
        layers::add_layer(files, &layer).with_context(|| format!("layer {name}"))?;
        step.advance(1);
    }
    Ok(())
}

/// Every file in the archive by its path. Layers that repeat are links to the first.
fn members(archive: &Extent) -> Result<HashMap<Vec<u8>, Extent>> {
    let mut members: HashMap<Vec<u8>, Extent> = HashMap::new();
    let mut links = Vec::new();
    for entry in tar::scan(archive)? {
        let name = components(&entry.path)?;
        match entry.kind {
            Kind::File => {
                // Nobody keeps these sparse, so there is one piece or none.
                let start = entry.pieces.first().map_or(0, |piece| piece.from);
                let extent = Extent { file: archive.file.clone(), start, len: entry.size };
                members.insert(name.join(&b'/'), extent);
            }
            Kind::HardLink(target) => links.push((name, components(&target)?)),
            Kind::Symlink(target) => {
                let mut path = name.clone();
                path.pop();
                for part in target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
                    if part == b".." {
                        path.pop();
                    } else {
                        path.push(part.to_vec());
                    }
                }
                links.push((name, path));
            }
            _ => {}
        }
    }
    for (name, target) in links {
        if let Some(extent) = members.get(&target.join(&b'/')).cloned() {
            members.insert(name.join(&b'/'), extent);
        }
    }
    Ok(members)
}
