//! Root disks of the native host. What the guest writes is kept in memory, unless a file is to be written.

use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use vm_block::remote::native::NativeNetwork;
use vm_block::remote::{ImageRef, OpenOptions, RemoteStatus};
use vm_block::{FileDevice, MemoryStore, Overlay, OverlayOptions, Shelf};

use crate::Machine;

/// Mounts a file with an ext2 file system.
pub async fn mount_file(machine: &Rc<Machine>, path: &Path, write: bool) -> anyhow::Result<()> {
    if write {
        machine.mount_root(FileDevice::open(path)?).await?;
        return Ok(());
    }
    let overlay = scratch(machine, path).await?;
    machine.mount_root(overlay).await?;
    Ok(())
}

/// Mounts a file with an ext2 file system at a path below the root.
pub async fn mount_file_at(machine: &Rc<Machine>, path: &Path, point: &str) -> anyhow::Result<()> {
    let overlay = scratch(machine, path).await?;
    machine.mount_disk(point, overlay).await?;
    Ok(())
}

/// A file as a disk whose changes stay in memory.
async fn scratch(machine: &Rc<Machine>, path: &Path) -> anyhow::Result<Rc<Overlay<FileDevice, MemoryStore>>> {
    let base = FileDevice::open_read_only(path)?;
    let identity = [0; 32];
    let store = MemoryStore::open(&Shelf::unlogged(), identity);
    let overlay = Rc::new(Overlay::open(base, identity, store, OverlayOptions::default()).await?);
    let writer = Rc::clone(&overlay);
    let (timers, clock) = (machine.timers(), machine.clock());
    machine.spawn(async move { writer.run_writeback(timers, clock).await });
    Ok(overlay)
}

/// Mounts an image of a store. Returns a function that tells how its network does.
pub async fn mount_image(
    machine: &Rc<Machine>,
    network: Rc<NativeNetwork>,
    image: &ImageRef,
    options: OpenOptions,
) -> anyhow::Result<impl Fn() -> RemoteStatus + use<>> {
    let open_store = async |identity| Ok(MemoryStore::open(&Shelf::unlogged(), identity));
    let disk = machine.open_image(network, image, options, open_store).await?;
    machine.mount_root(Rc::clone(&disk)).await.context("mounting it")?;
    Ok(move || disk.base().transport().status())
}
