//! What the real client reads, byte by byte: chunk borders, ends, images larger than 32 bits of bytes.

use std::rc::Rc;

use stream_tests::disk::{Disk, Random};
use stream_tests::sample::{Image, LARGE};
use stream_tests::world::World;
use vm_block::remote::Link;
use vm_block::{BlockDevice, BlockError};

use super::cases;

cases! { reads:
    Usual {
        shared chunk_borders_and_the_end,
        shared ten_thousand_random_reads,
        shared a_disk_of_twenty_gigabytes_opens_with_little,
        shared without_sockets_http_does,
        own objects_that_are_missing_or_damaged_are_named,
    }
}

const CHUNK: u64 = 128 * 1024;

fn compare(disk: &Disk, image: &Image, offset: u64, len: usize) {
    let mut bytes = vec![0xA5; len];
    let read = disk.run(disk.device.read_at(offset, &mut bytes));
    read.unwrap_or_else(|error| panic!("{len} bytes at {offset}: {error}"));
    // Not assert_eq: nobody wants to read so many bytes.
    if let Some(at) = bytes.iter().zip(image.expected(offset, len)).position(|(found, right)| *found != right) {
        panic!("{len} bytes at {offset}: byte {at} is wrong");
    }
}

async fn chunk_borders_and_the_end(world: &mut World) {
    for image in [&world.sample.small, &world.sample.large] {
        let disk = Disk::open(&world.image(&image.name), 64);
        assert_eq!(disk.device.size(), image.size);
        for border in [CHUNK, 7 * CHUNK, 33 * CHUNK, 2 << 30, 4 << 30, 1024 * CHUNK] {
            for before in [0_u64, 1, 511, CHUNK - 1, CHUNK] {
                for len in [0, 1, 2, 512, 4096, CHUNK as usize, CHUNK as usize + 1, 3 * CHUNK as usize] {
                    let offset = border.saturating_sub(before);
                    if offset + len as u64 <= image.size {
                        compare(&disk, image, offset, len);
                    }
                }
            }
        }
        for len in [0, 1, 2, 511, 4096, CHUNK as usize, CHUNK as usize + 1, 2 * CHUNK as usize + 77] {
            compare(&disk, image, image.size - len as u64, len);
        }
        for (offset, len) in
            [(image.size, 1), (image.size - 1, 2), (image.size + 1, 1), (u64::MAX, 1), (u64::MAX - 3, 9)]
        {
            let mut bytes = vec![0; len];
            let read = disk.run(disk.device.read_at(offset, &mut bytes));
            assert!(matches!(read, Err(BlockError::OutOfRange { .. })), "{len} bytes at {offset}: {read:?}");
        }
    }
}

async fn ten_thousand_random_reads(world: &mut World) {
    let (small, large) = (&world.sample.small, &world.sample.large);
    // Three quarters of the small image stay in memory: every fourth chunk or so comes from the server.
    let disks =
        [(Disk::open(&world.image("small"), 48), small, 7000), (Disk::open(&world.image("large"), 32), large, 3000)];
    let mut random = Random::new(0x5EED_0003);
    let written: Vec<u32> = large.chunks.keys().copied().collect();
    for (disk, image, count) in &disks {
        for _ in 0..*count {
            let len = match random.below(16) {
                0 => random.below(3 * CHUNK),
                1..4 => random.below(65_536),
                _ => random.below(4097),
            };
            // A sparse disk is mostly zeros: go where there is something, or beside it.
            let offset = if image.size > 1 << 30 && random.below(8) > 0 {
                let chunk = written[random.below(written.len() as u64) as usize];
                (u64::from(chunk) * CHUNK + random.below(2 * CHUNK)).saturating_sub(random.below(CHUNK))
            } else {
                random.below(image.size)
            };
            let offset = offset.min(image.size - 1);
            compare(disk, image, offset, len.min(image.size - offset) as usize);
        }
    }
    let status = disks[0].0.remote.status();
    assert!(status.objects > 64, "everything came from memory");
    assert_eq!(status.link, Link::Socket, "{status:?}");
}

async fn a_disk_of_twenty_gigabytes_opens_with_little(world: &mut World) {
    let image = &world.sample.large;
    assert_eq!(image.size, LARGE);
    let disk = Disk::open(&world.image("large"), 64);
    compare(&disk, image, 5 << 30, 4096);
    let bytes = disk.remote.status().bytes;
    assert!(bytes < 40 << 10, "{bytes} bytes for a page of zeros");
    assert_eq!(image.expected(5 << 30, 4096), vec![0; 4096], "the sample has zeros there");
}

async fn without_sockets_http_does(world: &mut World) {
    let image = &world.sample.small;
    let disk = Disk::open_with(&world.image("small"), 8, false);
    let mut random = Random::new(0x5EED_0004);
    for _ in 0..100 {
        let offset = random.below(image.size - 8192);
        compare(&disk, image, offset, 8192);
    }
    assert_eq!(disk.remote.status().link, Link::Http);
}

async fn objects_that_are_missing_or_damaged_are_named(world: &mut World) {
    let image = world.sample.small.clone();
    let key = |chunk: u32| block_proto::key::object(&image.chunks[&chunk]);
    let good = world.stored(&key(10));
    world.remove(&key(10));
    world.replace(&key(20), b"garbage");
    let disk = Disk::open(&world.image("small"), 64);
    let read = |chunk: u64| {
        let mut bytes = vec![0; 4096];
        let device = Rc::clone(&disk.device);
        disk.run(async move { device.read_at(chunk * CHUNK, &mut bytes).await.map(|()| bytes) })
    };
    let missing = read(10).expect_err("is not there");
    assert!(matches!(&missing, BlockError::Missing { chunk, .. } if chunk.0 == 10), "{missing}");
    let damaged = read(20).expect_err("is damaged");
    assert!(matches!(&damaged, BlockError::Corrupt { chunk, .. } if chunk.0 == 20), "{damaged}");
    // The rest of the disk, and the same chunks once they are right again.
    assert_eq!(read(30).expect("is there"), image.expected(30 * CHUNK, 4096));
    world.replace(&key(10), &good);
    assert_eq!(read(10).expect("is back"), image.expected(10 * CHUNK, 4096));
}
