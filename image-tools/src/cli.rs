//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use block_proto::ImageRef;
use block_proto::sign::PublicKey;
use block_store::Location;
use clap::{Args, Parser, Subcommand, ValueEnum};
use image_tools::Source;
use image_tools::publish::OriginRef;
use vm_block::remote::Token;
use vm_block::remote::native::NativeOptions;

use crate::{duration, size};

/// Make, check and export the disk images that Skiff streams.
///
/// An image is a disk with an ext2 file system, cut into chunks of 128 KiB. Each chunk is stored once, compressed, under the
/// hash of its content; a manifest lists them; a tag such as `latest` points at a manifest. A store is a plain directory
/// with all of these: serve it with block-server, or put it on any static web host.
#[derive(Parser)]
#[command(
    version,
    after_help = "NAMING AN IMAGE\n  \
    STORE_OR_URL/name            the tag `latest`\n  \
    STORE_OR_URL/name@v2         another tag\n  \
    STORE_OR_URL/name@b3:HASH    exactly this version, for ever\n  \
    s3://BUCKET/PREFIX/name...   the same in a bucket (push, pull, diff, sign)\n\n\
    BUCKETS\n  \
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for all but AWS itself;\n  \
    R2: AWS_ENDPOINT_URL=https://ACCOUNT.r2.cloudflarestorage.com\n\n\
    EXIT CODES\n  \
    0  done\n  1  it could not be done\n  2  the command line was wrong\n  3  the image is damaged"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Show no progress bars.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// A PEM file with the certificates of the only authorities to trust for https: and wss:.
    #[arg(long, global = true, value_name = "FILE", env = "SSL_CERT_FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an image from files and write it into a store.
    #[command(after_help = "EXAMPLES\n  \
        image-tools build -o store --name web --from dir:./rootfs\n  \
        docker export $(docker create debian) | image-tools build -o store --name debian --from tar:-\n  \
        docker save myapp | image-tools build -o store --name myapp --from docker-archive:-\n  \
        mmdebstrap --architectures=i386 bookworm root.tar && image-tools build -o store --name debian --from tar:root.tar\n  \
        image-tools build -o store --name app --tag v2 --tag latest --size 4G --from oci:./layout\n  \
        image-tools build -o store --name web --from dir:./rootfs --after store/web\n\n\
        Neither root nor a loop mount is needed. Owners, modes, times, links, devices and attributes are kept; a container\n\
        image's Env, Entrypoint, Cmd, User and WorkingDir go into the manifest. The same inputs give the same bytes.")]
    Build(Build),
    /// Cut a disk that is ext2 already into chunks.
    #[command(after_help = "The same as `build --from ext2:DISK`. The disk is stored as it is.")]
    Chunk(Chunk),
    /// Print everything an image says about itself, as JSON.
    Inspect(Inspect),
    /// Check an image: every hash, then the file system, and with a key the tag's signature.
    #[command(after_help = "Ends with exit code 3 if anything is wrong, and names each chunk or file.")]
    Verify(Verify),
    /// Write an image's disk to a file.
    #[command(after_help = "EXAMPLES\n  \
        image-tools export store/debian debian.ext2\n  \
        image-tools export --layout github store/debian site/debian.ext2\n\n\
        The file is sparse. The layout `github` is what WebVM reads: debian.ext2.meta with the size, and\n\
        debian.ext2.c000000.txt and so on, one file a chunk.")]
    Export(Export),
    /// Ask a server for an image and check a sample of it end to end.
    #[command(after_help = "EXAMPLES\n  \
        image-tools serve-check http://127.0.0.1:8080/debian\n  \
        image-tools serve-check --sample 1000 https://disks.example.org/debian@v2\n\n\
        The sample is fetched twice: over WebSocket if the server has it, and over HTTP alone.")]
    ServeCheck(ServeCheck),
    /// Copy an image into a store: a directory or a bucket.
    #[command(after_help = "EXAMPLES\n  \
        image-tools push store/debian s3://disks\n  \
        image-tools push store/debian s3://disks --tag v2 --tag latest --sign-key publisher.key\n  \
        image-tools push store/app s3://disks --tenant acme\n\n\
        Only what is missing is copied, many objects at a time; the manifest comes last, and tags move when everything\n\
        is known to be there. A push that was interrupted goes on where it was when it is repeated. It may run beside\n\
        other pushes and beside gc.")]
    Push(Push),
    /// Copy an image from a server or bucket into a directory.
    #[command(after_help = "EXAMPLES\n  \
        image-tools pull https://disks.example.org/debian@v2 -o store\n  \
        image-tools pull s3://disks/debian -o store --key ed25519:HEX\n\n\
        The same as push, the other way round.")]
    Pull(Pull),
    /// Tell in how much two images differ.
    Diff(Diff),
    /// Remove what no tag and no version of the last months needs.
    #[command(after_help = "EXAMPLES\n  \
        image-tools gc s3://disks                        only tells what would go\n  \
        image-tools gc s3://disks --delete\n  \
        image-tools gc store --keep 30d --delete\n\n\
        Kept: whatever a tag points at, and every version that was published within --keep, tagged or not, because the\n\
        changes people made on a version need exactly that version. It waits for pushes that are under way.")]
    Gc(Gc),
    /// Make a key to sign tags with, and print the public half.
    Keygen(Keygen),
    /// Sign a tag.
    #[command(
        after_help = "Clients that were told the public key take no tag that it did not sign. `push --sign-key` signs, too."
    )]
    Sign(Sign),
}

#[derive(Args)]
pub(crate) struct Build {
    /// The store to write into; made if it is not there.
    #[arg(short = 'o', long = "store", value_name = "STORE")]
    pub(crate) store: PathBuf,
    /// The image's name: lower-case letters, digits, `.`, `_` and `-`.
    #[arg(long)]
    pub(crate) name: String,
    /// What to make it from: dir:DIRECTORY, tar:FILE, oci:LAYOUT, docker-archive:FILE or ext2:FILE. Archives may be
    /// compressed (gzip, xz, zstd, bzip2); `-` is standard input.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: Source,
    /// Size of the disk, such as 4G [default: the content and 8 GiB of free space; zeros cost nothing].
    #[arg(long, value_parser = size::parse, conflicts_with = "free")]
    pub(crate) size: Option<u64>,
    /// Free space on the disk, instead of a size.
    #[arg(long, value_parser = size::parse)]
    pub(crate) free: Option<u64>,
    /// A file that lists, one a line, the paths a boot reads, in order; they are put next to each other.
    #[arg(long, value_name = "FILE")]
    pub(crate) first: Option<PathBuf>,
    /// The version before this one, in a directory or on a server. What did not change stays where it was on the disk, so
    /// that few chunks are new; without it nearly all are.
    #[arg(long, value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) after: Option<ImageRef>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Chunk {
    /// The store to write into; made if it is not there.
    #[arg(short = 'o', long = "store", value_name = "STORE")]
    pub(crate) store: PathBuf,
    /// The image's name.
    #[arg(long)]
    pub(crate) name: String,
    /// The disk.
    pub(crate) disk: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Output {
    /// A tag to point at the image; may be given several times.
    #[arg(long = "tag", value_name = "TAG", default_value = "latest")]
    pub(crate) tags: Vec<String>,
    /// zstd level: 3 is fast, 19 saves another eighth and takes a hundred times as long.
    #[arg(long, value_name = "N", default_value_t = block_proto::envelope::DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) level: i32,
    /// Date of the image in seconds since 1970 [default: the newest file's].
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub(crate) created: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Network {
    /// Seconds without an answer after which to give up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Permission to read a private image. Better in the environment: others of the machine can read command lines.
    #[arg(long, value_name = "TOKEN", env = "SKIFF_TOKEN", hide_env_values = true)]
    token: Option<Token>,
}

impl Network {
    pub(crate) fn with(&self, options: &NativeOptions) -> image_tools::Network {
        let patience = Duration::from_secs(self.timeout);
        image_tools::Network { patience, options: options.clone(), token: self.token.clone() }
    }
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// The image, in a directory or on a server.
    #[arg(value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: ImageRef,
    #[command(flatten)]
    pub(crate) network: Network,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The image, in a directory or on a server.
    #[arg(value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: ImageRef,
    /// The publisher's key: the tag must be signed by it.
    #[arg(long, value_name = "ed25519:HEX")]
    pub(crate) key: Option<PublicKey>,
    #[command(flatten)]
    pub(crate) network: Network,
}

#[derive(Args)]
pub(crate) struct Push {
    /// The image: in a directory, in a bucket or on a server.
    #[arg(value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: OriginRef,
    /// Where to: a directory or s3://BUCKET[/PREFIX].
    pub(crate) to: Location,
    /// Another name there.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag to point at it there; may be given several times [default: the one it is named by].
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Signs the tags with this key (see keygen).
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) copying: Copying,
}

#[derive(Args)]
pub(crate) struct Pull {
    /// The image: on a server, in a bucket or in a directory.
    #[arg(value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: OriginRef,
    /// The directory to copy it into; made if it is not there.
    #[arg(short = 'o', long = "store", value_name = "STORE")]
    pub(crate) store: PathBuf,
    /// A tag to point at it there; may be given several times [default: the one it is named by].
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// The publisher's key: the tag must be signed by it.
    #[arg(long, value_name = "ed25519:HEX")]
    pub(crate) key: Option<PublicKey>,
    #[command(flatten)]
    pub(crate) copying: Copying,
}

#[derive(Args)]
pub(crate) struct Copying {
    /// Private: below p/TENANT/ of the bucket, where only that tenant's tokens can read.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Objects copied at a time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) parallel: usize,
    /// How long to wait for a gc to end.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration::parse)]
    pub(crate) wait: Duration,
}

#[derive(Args)]
pub(crate) struct Diff {
    /// The image before.
    #[arg(value_name = "BEFORE")]
    pub(crate) before: OriginRef,
    /// The image after.
    #[arg(value_name = "AFTER")]
    pub(crate) after: OriginRef,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Gc {
    /// A directory or s3://BUCKET[/PREFIX].
    pub(crate) store: Location,
    /// Versions published within this time are kept, tagged or not.
    #[arg(long, value_name = "TIME", default_value = "180d", value_parser = duration::parse)]
    pub(crate) keep: Duration,
    /// Objects written within this time are kept, whatever needs them.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration::parse)]
    pub(crate) grace: Duration,
    /// Only below p/TENANT/.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Removes; without it, nothing is changed.
    #[arg(long)]
    pub(crate) delete: bool,
    /// How long to wait for pushes to end.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration::parse)]
    pub(crate) wait: Duration,
}

#[derive(Args)]
pub(crate) struct Keygen {
    /// The file to keep the key in; it must not be there yet.
    pub(crate) file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Sign {
    /// The image, by a tag; in a directory or bucket.
    #[arg(value_name = "STORE/NAME[@TAG]")]
    pub(crate) image: OriginRef,
    /// The key (see keygen).
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Keeps the signatures of other keys; for the time in which a key is changed.
    #[arg(long)]
    pub(crate) add: bool,
    /// Below p/TENANT/.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The image, in a directory or on a server.
    #[arg(value_name = "STORE_OR_URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: ImageRef,
    /// The file to make; it must not be there yet.
    pub(crate) to: PathBuf,
    /// One file, or the many of WebVM's layout for static hosts.
    #[arg(long, value_enum, default_value_t = Layout::File)]
    pub(crate) layout: Layout,
    #[command(flatten)]
    pub(crate) network: Network,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Layout {
    /// One sparse ext2 file.
    File,
    /// FILE.meta and FILE.cNNNNNN.txt.
    Github,
}

#[derive(Args)]
pub(crate) struct ServeCheck {
    /// The image on a server.
    #[arg(value_name = "URL/NAME[@TAG|@b3:HASH]")]
    pub(crate) image: ImageRef,
    /// Chunks to fetch each way.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) sample: usize,
    #[command(flatten)]
    pub(crate) network: Network,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line as a shell has them; variables stand for themselves.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for character in line.chars() {
            match (character, quote) {
                (end, Some(begin)) if end == begin => quote = None,
                ('"' | '\'', None) => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                (space, None) if space.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(character),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn commands_in_documents_are_right() {
        let documents = [
            include_str!("../../README.md"),
            include_str!("../../deploy/README.md"),
            include_str!("../../deploy/workflows/image.yml"),
            include_str!("../README.md"),
        ];
        let mut tried = 0;
        for line in documents.into_iter().flat_map(str::lines) {
            let starts = line.match_indices("image-tools ").filter_map(|(at, name)| line.get(at + name.len()..));
            for command in starts {
                let command = command.split([';', '#', '`', '|']).next().unwrap_or_default();
                let words = words(command.trim_start_matches("-- "));
                // Prose has no subcommand behind the name.
                let Some(first) = words.first().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
                else {
                    continue;
                };
                if words.len() < 2 || !line.trim_start().starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                let of_shell =
                    |word: &str| word.replace("$NAME", "name").replace("$TAG", "tag").replace("$BUCKET", "bucket");
                let words = words.iter().map(|word| of_shell(word));
                if let Err(error) = Cli::try_parse_from(std::iter::once("image-tools".to_owned()).chain(words)) {
                    panic!("{line}\n{first}: {error}");
                }
                tried += 1;
            }
        }
        assert!(tried >= 14, "only {tried} commands were found");
    }
}
