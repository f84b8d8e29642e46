//! The initial stack: strings, auxiliary vector, pointers (System V ABI for i386, "Process initialization").

use linux_abi::auxv::{
    AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ,
    AT_NULL, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PLATFORM, AT_RANDOM, AT_SECURE, AT_SYSINFO, AT_SYSINFO_EHDR,
    AT_UID,
};

use super::vdso;
use crate::task::Credentials;

/// Size of a program header.
const PHENT: u64 = 32;
/// Ticks a second in times(2) and /proc.
const CLOCK_TICKS: u64 = 100;
/// The most that a signal frame takes.
const MIN_SIGNAL_STACK: u64 = 2048;
const PLATFORM: &[u8] = b"i686\0";

/// The strings at the top of the stack: arguments, environment, name of the program.
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Address of the first byte.
    start: u64,
    arguments: Vec<u64>,
    environment: Vec<u64>,
    name: u64,
    env_start: u64,
}

impl Strings {
    /// Lays the strings out below `top`.
    pub(super) fn new(name: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>], top: u64) -> Self {
        // The word at the very top stays zero.
        const END: usize = 4;
        let len: usize = argv.iter().chain(envp).map(|s| s.len() + 1).sum::<usize>() + name.len() + 1 + END;
        let start = top - len as u64;
        let mut bytes = Vec::with_capacity(len);
        let mut put = |string: &[u8]| {
            let at = start + bytes.len() as u64;
            bytes.extend_from_slice(string);
            bytes.push(0);
            at
        };
        let arguments: Vec<u64> = argv.iter().map(|s| put(s)).collect();
        let environment: Vec<u64> = envp.iter().map(|s| put(s)).collect();
        let name = put(name);
        bytes.resize(len, 0);
        let env_start = environment.first().copied().unwrap_or(name);
        Self { bytes, start, arguments, environment, name, env_start }
    }

    /// The lowest address the initial stack will use, roughly.
    pub(super) fn lowest(&self) -> u64 {
        let pointers = self.arguments.len() + self.environment.len() + 64;
        self.start.saturating_sub(pointers as u64 * 4 + 64)
    }

    pub(super) fn arg_start(&self) -> u64 {
        self.start
    }

    pub(super) fn env_start(&self) -> u64 {
        self.env_start
    }

    pub(super) fn env_end(&self) -> u64 {
        self.name
    }
}

/// What the auxiliary vector tells.
pub(super) struct Aux<'a> {
    pub(super) phdr: u64,
    pub(super) phnum: u64,
    /// Where the interpreter is.
    pub(super) base: u64,
    /// Where the program, not the interpreter, begins.
    pub(super) entry: u64,
    pub(super) vdso: u64,
    pub(super) creds: &'a Credentials,
    pub(super) secure: bool,
    pub(super) random: [u8; 16],
}

/// The finished stack.
pub(super) struct Built {
    /// The stack pointer; `bytes` go there.
    pub(super) pointer: u64,
    pub(super) bytes: Vec<u8>,
    /// The auxiliary vector by itself.
    pub(super) auxv: Vec<u8>,
}

/// Builds the stack in Linux's order.
pub(super) fn build(strings: &Strings, aux: &Aux<'_>) -> Built {
    let platform = (strings.start & !15) - PLATFORM.len() as u64;
    let random = platform - 16;
    let creds = aux.creds;
    let hwcap = u64::from(vm_cpu::FEATURES_EDX);
    let vector: [(u32, u64); 22] = [
        (AT_SYSINFO, aux.vdso + vdso::symbols().vsyscall),
        (AT_SYSINFO_EHDR, aux.vdso),
        (AT_MINSIGSTKSZ, MIN_SIGNAL_STACK),
        (AT_HWCAP, hwcap),
        (AT_PAGESZ, 4096),
        (AT_CLKTCK, CLOCK_TICKS),
        (AT_PHDR, aux.phdr),
        (AT_PHENT, PHENT),
        (AT_PHNUM, aux.phnum),
        (AT_BASE, aux.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, aux.entry),
        (AT_UID, creds.uid.into()),
        (AT_EUID, creds.euid.into()),
        (AT_GID, creds.gid.into()),
        (AT_EGID, creds.egid.into()),
        (AT_SECURE, aux.secure.into()),
        (AT_RANDOM, random),
        (AT_HWCAP2, 0),
        (AT_EXECFN, strings.name),
        (AT_PLATFORM, platform),
        (AT_NULL, 0),
    ];
    let mut auxv = Vec::new();
    for (kind, value) in vector {
        auxv.extend_from_slice(&kind.to_le_bytes());
        auxv.extend_from_slice(&(value as u32).to_le_bytes());
    }

    let words = 1 + strings.arguments.len() + 1 + strings.environment.len() + 1;
    let pointer = (random - (words * 4 + auxv.len()) as u64) & !15;
    let mut bytes = Vec::with_capacity((strings.start - pointer) as usize + strings.bytes.len());
    let mut word = |value: u64| bytes.extend_from_slice(&(value as u32).to_le_bytes());
    word(strings.arguments.len() as u64);
    strings.arguments.iter().for_each(|at| word(*at));
    word(0);
    strings.environment.iter().for_each(|at| word(*at));
    word(0);
    bytes.extend_from_slice(&auxv);
    bytes.resize((random - pointer) as usize, 0);
    bytes.extend_from_slice(&aux.random);
    bytes.extend_from_slice(PLATFORM);
    bytes.resize((strings.start - pointer) as usize, 0);
    bytes.extend_from_slice(&strings.bytes);
    Built { pointer, bytes, auxv }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0xffff_e000;

    fn word(built: &Built, index: usize) -> u64 {
        u32::from_le_bytes(built.bytes[index * 4..index * 4 + 4].try_into().unwrap()).into()
    }

    fn string(built: &Built, at: u64) -> &str {
        let bytes = &built.bytes[(at - built.pointer) as usize..];
        std::str::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap()).unwrap()
    }

    #[test]
    fn a_program_finds_its_arguments_environment_and_auxiliary_vector() {
        let argv = [b"ls".to_vec(), b"-l".to_vec()];
        let envp = [b"HOME=/".to_vec()];
        let strings = Strings::new(b"/bin/ls", &argv, &envp, TOP);
        let creds = Credentials::new(1000, 100);
        let aux = Aux {
            phdr: 0x34,
            phnum: 9,
            base: 7,
            entry: 8,
            vdso: 0xf7ff_0000,
            creds: &creds,
            secure: false,
            random: [9; 16],
        };
        let built = build(&strings, &aux);
        assert_eq!(built.pointer % 16, 0);
        assert!(strings.lowest() <= built.pointer);
        assert_eq!(built.pointer + built.bytes.len() as u64, TOP);
        assert_eq!(word(&built, 0), 2);
        assert_eq!((string(&built, word(&built, 1)), string(&built, word(&built, 2))), ("ls", "-l"));
        assert_eq!((word(&built, 3), string(&built, word(&built, 4)), word(&built, 5)), (0, "HOME=/", 0));
        let vector: std::collections::HashMap<u64, u64> = (6..)
            .step_by(2)
            .map(|at| (word(&built, at), word(&built, at + 1)))
            .take_while(|(kind, _)| *kind != 0)
            .collect();
        assert_eq!(vector[&u64::from(AT_UID)], 1000);
        assert_eq!(string(&built, vector[&u64::from(AT_EXECFN)]), "/bin/ls");
        assert_eq!(string(&built, vector[&u64::from(AT_PLATFORM)]), "i686");
        let random = (vector[&u64::from(AT_RANDOM)] - built.pointer) as usize;
        assert_eq!(built.bytes[random..random + 16], [9; 16]);
        assert_eq!((strings.arg_start(), strings.env_start()), (word(&built, 1), word(&built, 4)));
        assert_eq!(built.bytes[built.bytes.len() - 4..], [0; 4]);
    }
}
