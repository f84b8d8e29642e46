//! The border to whatever can install and call WebAssembly.

/// A module that was installed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ModuleId(pub u32);

/// The number of a module that is being compiled beside what runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(pub u32);

/// The host did not take a module or has no room in its table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstallError(pub String);

impl std::fmt::Display for InstallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the host does not take generated code: {}", self.0)
    }
}

impl std::error::Error for InstallError {}

/// What generated code calls; the numbers are the first argument of the one imported function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Request {
    /// Load from address `a`, `b` bytes: the offset of the data from the first frame, or `u32::MAX` for a fault.
    Load = 0,
    /// Store `b` bytes from the bounce buffer at address `a`: 0 for done.
    Store = 1,
    /// Check that `b` bytes at address `a` can be stored to: 0 for yes.
    Check = 2,
    /// Run the assist with number `a`: 0 for done.
    Assist = 3,
    /// Run the operation with number `a` as the interpreter would: 0 for done.
    Operation = 4,
    /// The arithmetic flags of the record in the state, in architectural layout.
    Flags = 5,
    /// Make doubles of the x87 registers that are in use.
    ToDoubles = 6,
    /// Make x87 registers of the doubles.
    FromDoubles = 7,
    /// Move the window so that it has the `b` bytes at address `a`: 0 for done.
    Window = 8,
}

impl Request {
    /// All requests by number.
    pub const ALL: [Request; 9] = [
        Request::Load,
        Request::Store,
        Request::Check,
        Request::Assist,
        Request::Operation,
        Request::Flags,
        Request::ToDoubles,
        Request::FromDoubles,
        Request::Window,
    ];
}

/// What answers generated code while it runs.
pub trait Runtime {
    /// Does what a request wants.
    fn request(&mut self, what: u32, a: u32, b: u32) -> u32;
}

/// Installs and runs generated modules in the memory of this program and with a function table of their own.
///
/// A module imports `env.memory`, `env.table` and `env.request` (a function of three i32 that returns an i32 and calls
/// [`Runtime::request`] of the running call of [`CodeHost::enter`]). Its element segments put its functions into the table.
pub trait CodeHost {
    /// A module that is compiled. Dropping it gives it up.
    type Module;
    /// Makes the table, with slots for so many functions; the first hold functions of this program, of which `ours` are the
    /// pointers. Called once and first: hosts may copy what is in the table for each module, and tell all modules when it
    /// grows.
    fn reserve(&mut self, slots: u32, ours: &[u32]) -> Result<(), InstallError>;
    /// Compiles a module.
    fn compile(&mut self, module: &[u8]) -> Result<Self::Module, InstallError>;
    /// Begins to compile a module beside what runs; [`CodeHost::compiled`] tells the end of it.
    fn start(&mut self, module: &[u8], ticket: Ticket);
    /// The next of the modules begun that is compiled, or that the host did not take.
    fn compiled(&mut self) -> Option<(Ticket, Result<Self::Module, InstallError>)>;
    /// Installs a module, whose functions are callable when this returns.
    fn install(&mut self, module: Self::Module) -> Result<ModuleId, InstallError>;
    /// Calls the function in a slot of the table, which takes and returns an i32.
    fn enter(&mut self, slot: u32, argument: u32, runtime: &mut dyn Runtime) -> u32;
    /// Forgets a function, whose slot may be used again at once.
    fn clear(&mut self, slot: u32);
    /// Forgets a module, whose functions are all forgotten.
    fn discard(&mut self, module: ModuleId);
    /// Whether modules may contain tail calls.
    fn tail_calls(&self) -> bool;
    /// Milliseconds of some clock, to tell how long compiling takes.
    fn now_ms(&self) -> f64;
}
