//! The commands about stores.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use block_proto::sign::SecretKey;
use block_store::{Location, Options, Store};
use image_tools::publish::diff::diff as compare;
use image_tools::publish::gc::{GcOptions, gc as collect};
use image_tools::publish::push::{PushOptions, Pushed, push as copy};
use image_tools::publish::{Area, Origin, OriginRef, block_on, keys};
use vm_block::remote::native::NativeOptions;

use crate::bars::Bars;
use crate::{cli, size};

pub(crate) fn push(args: cli::Push, network: &NativeOptions, bars: &Bars) -> Result<ExitCode> {
    let options = PushOptions {
        name: args.name,
        tags: args.tags,
        area: Area::of(args.copying.tenant.as_deref())?,
        secret: args.sign_key.as_deref().map(read_secret).transpose()?,
        pinned: None,
        parallel: args.copying.parallel,
        patience: args.copying.wait,
    };
    if let Location::Directory(path) = &args.to {
        fs::create_dir_all(path).with_context(|| format!("cannot make the store {}", path.display()))?;
    }
    transfer(&args.image, &Area::public(), &args.to, &options, network, bars)
}

pub(crate) fn pull(args: cli::Pull, network: &NativeOptions, bars: &Bars) -> Result<ExitCode> {
    let options = PushOptions {
        tags: args.tags,
        pinned: args.key,
        parallel: args.copying.parallel,
        patience: args.copying.wait,
        ..PushOptions::default()
    };
    fs::create_dir_all(&args.store).with_context(|| format!("cannot make the store {}", args.store.display()))?;
    let from = Area::of(args.copying.tenant.as_deref())?;
    transfer(&args.image, &from, &Location::Directory(args.store), &options, network, bars)
}

fn transfer(
    image: &OriginRef,
    from: &Area,
    to: &Location,
    options: &PushOptions,
    network: &NativeOptions,
    bars: &Bars,
) -> Result<ExitCode> {
    let pushed: Pushed = block_on(async {
        let origin = Origin::open(image, from, network)?;
        let to = Store::open(to, &Options::default())?;
        copy(image, &origin, &to, options, bars).await
    })?;
    let name = options.name.as_ref().unwrap_or(&image.name);
    println!("{to}/{name}@b3:{}", pushed.manifest);
    eprintln!(
        "{} objects, {} of them copied, {}; tags: {}",
        pushed.objects,
        pushed.copied,
        size::show(pushed.copied_bytes),
        pushed.tags.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn diff(args: &cli::Diff, network: &NativeOptions, bars: &Bars) -> Result<ExitCode> {
    let public = Area::public();
    let difference = block_on(async {
        let (before, after) =
            (Origin::open(&args.before, &public, network)?, Origin::open(&args.after, &public, network)?);
        compare((&args.before, &before), (&args.after, &after), bars).await
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&difference)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} bytes in {} chunks differ; {} of {} chunks are new ({:.2} %), {} stored",
        difference.changed_bytes,
        difference.changed_chunks,
        difference.new_chunks,
        difference.chunks,
        difference.new_share() * 100.0,
        size::show(difference.new_stored_bytes)
    );
    if difference.size_before != difference.size_after {
        println!("the disk had {} and has {}", size::show(difference.size_before), size::show(difference.size_after));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn gc(args: &cli::Gc, bars: &Bars) -> Result<ExitCode> {
    let options = GcOptions {
        keep: args.keep,
        grace: args.grace,
        area: Area::of(args.tenant.as_deref())?,
        delete: args.delete,
        patience: args.wait,
    };
    let collected = block_on(async {
        let store = Store::open(&args.store, &Options::default())?;
        collect(&store, &options, bars).await
    })?;
    let went = if args.delete { "removed" } else { "would be removed (say --delete)" };
    println!(
        "{} images and {} objects are kept; {} objects, {}, {went}",
        collected.images,
        collected.kept,
        collected.removed,
        size::show(collected.removed_bytes)
    );
    if collected.young > 0 {
        println!("{} objects that nothing needs are younger than --grace and stay", collected.young);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn keygen(args: &cli::Keygen) -> Result<ExitCode> {
    let key = keys::generate()?;
    let shown = args.file.display();
    let mut options = fs::OpenOptions::new();
    // Nobody else may read it, not even for a moment.
    let file = options.write(true).create_new(true).mode(0o600).open(&args.file);
    let mut file = file.with_context(|| format!("cannot make {shown}"))?;
    std::io::Write::write_all(&mut file, format!("{}\n", key.reveal()).as_bytes())?;
    file.sync_all()?;
    println!("{}", key.public());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn sign(args: &cli::Sign, network: &NativeOptions) -> Result<ExitCode> {
    let key = read_secret(&args.key)?;
    let area = Area::of(args.tenant.as_deref())?;
    block_on(async {
        let origin = Origin::open(&args.image, &area, network)?;
        keys::sign(&args.image, &origin, &key, args.add).await
    })?;
    println!("{} is signed by {}", args.image, key.public());
    Ok(ExitCode::SUCCESS)
}

fn read_secret(file: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().with_context(|| format!("{}", file.display()))
}
