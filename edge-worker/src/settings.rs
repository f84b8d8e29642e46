//! The Worker's settings: plain-text variables, as `[vars]` of `wrangler.toml` or `wrangler secret` give them.

use block_proto::token::TokenKey;

use crate::budget::Limits;

/// Where objects and tags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The R2 bucket bound as `STORE`.
    R2,
    /// The static assets bound as `ASSETS`.
    Assets,
}

/// Who serves WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Nobody: clients use HTTP, where every request has limits of its own.
    Off,
    /// The Worker itself: nearest to the client, ended by goaway when its budget is used up.
    Worker,
    /// A Durable Object for each, bound as `SOCKETS_OBJECT`: sleeps while nothing is asked, fresh limits at each message.
    Object,
}

/// See the module; each field names its variable.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `STORE_KIND`: `r2` (default) or `assets`.
    pub store: StoreKind,
    /// `SOCKETS`: `worker`, `object` or `off`; by default `worker` on the paid plan and `off` on the free one.
    pub sockets: Sockets,
    /// `PLAN` (`paid`, default, or `free`), `SUBREQUESTS` and `CPU_MS`: what an invocation may do.
    pub limits: Limits,
    /// `CACHE_API`: `on` (default) or `off`.
    pub cache_api: bool,
    /// `MEMORY_MIB`: bytes of objects kept in an isolate.
    pub memory: usize,
    /// `ALLOW_ORIGINS`: pages that may use the store, separated by commas; empty for any.
    pub allow_origins: Vec<String>,
    /// `TOKEN_SECRETS`: secrets that tokens of private images are sealed with, separated by white space.
    pub token_keys: Vec<TokenKey>,
    /// `MAX_SESSIONS`: WebSocket sessions in an isolate.
    pub max_sessions: usize,
    /// `LOG`: `off` (default) or `json`, a line on the console for each request and session.
    pub log: bool,
}

impl Settings {
    /// Reads the settings; an error names the variable and what it may be.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let word = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let number = |name: &str, default: u32, least: u32, most: u32| match word(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("{name} is {text:?}; it must be a number from {least} to {most}")),
        };
        let unknown = |name: &str, text: String, known: &str| format!("{name} is {text:?}; it must be {known}");
        let free = match word("PLAN").as_deref() {
            None | Some("paid") => false,
            Some("free") => true,
            Some(other) => return Err(unknown("PLAN", other.to_owned(), "\"free\" or \"paid\"")),
        };
        let store = match word("STORE_KIND").as_deref() {
            None | Some("r2") => StoreKind::R2,
            Some("assets") => StoreKind::Assets,
            Some(other) => return Err(unknown("STORE_KIND", other.to_owned(), "\"r2\" or \"assets\"")),
        };
        let sockets = match word("SOCKETS").as_deref() {
            None if free => Sockets::Off,
            None | Some("worker") => Sockets::Worker,
            Some("off") => Sockets::Off,
            Some("object") => Sockets::Object,
            Some(other) => return Err(unknown("SOCKETS", other.to_owned(), "\"worker\", \"object\" or \"off\"")),
        };
        let switch = |name: &str, default: bool, on: &str| match word(name) {
            None => Ok(default),
            Some(text) if text == on => Ok(true),
            Some(text) if text == "off" => Ok(false),
            Some(text) => Err(unknown(name, text, &format!("{on:?} or \"off\""))),
        };
        // Free: 50 subrequests to anywhere, the Cache API's included. Paid: 10,000 by default, up to 10 million by
        // `limits.subrequests` of wrangler.toml. CPU: 10 ms, and 30 s by default (`limits.cpu_ms`).
        let (subrequests, cpu_ms) = if free { (50, 10) } else { (10_000, 30_000) };
        let origins = word("ALLOW_ORIGINS").unwrap_or_default();
        let secrets = word("TOKEN_SECRETS").unwrap_or_default();
        let token_keys = secrets.split_whitespace().map(TokenKey::new).collect::<Result<_, _>>();
        Ok(Self {
            store,
            sockets,
            limits: Limits {
                subrequests: number("SUBREQUESTS", subrequests, 8, 10_000_000)?,
                cpu_us: u64::from(number("CPU_MS", cpu_ms, 5, 300_000)?) * 1000,
            },
            cache_api: switch("CACHE_API", true, "on")?,
            memory: number("MEMORY_MIB", 40, 0, 64)? as usize * (1 << 20),
            allow_origins: origins
                .split(',')
                .map(|origin| origin.trim().to_owned())
                .filter(|o| !o.is_empty())
                .collect(),
            token_keys: token_keys.map_err(|error| format!("TOKEN_SECRETS: {error}"))?,
            max_sessions: number("MAX_SESSIONS", 64, 1, 10_000)? as usize,
            log: switch("LOG", false, "json")?,
        })
    }

    /// Whether a page of this origin may use the store.
    pub fn origin_allowed(&self, origin: &str) -> bool {
        self.allow_origins.is_empty() || self.allow_origins.iter().any(|allowed| allowed == origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn plans_differ_in_limits_and_sockets() {
        let paid = read(&[]).expect("defaults");
        assert_eq!((paid.sockets, paid.limits.subrequests, paid.store), (Sockets::Worker, 10_000, StoreKind::R2));
        let free = read(&[("PLAN", "free")]).expect("free");
        assert_eq!((free.sockets, free.limits), (Sockets::Off, Limits { subrequests: 50, cpu_us: 10_000 }));
        let chosen = read(&[("PLAN", "free"), ("SOCKETS", "object"), ("SUBREQUESTS", "1000")]).expect("chosen");
        assert_eq!((chosen.sockets, chosen.limits.subrequests), (Sockets::Object, 1000));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_it_may_be() {
        for (name, text, may_be) in [
            ("PLAN", "gold", "free"),
            ("STORE_KIND", "s3", "assets"),
            ("SOCKETS", "on", "object"),
            ("CACHE_API", "yes", "off"),
            ("SUBREQUESTS", "-1", "10000000"),
            ("MEMORY_MIB", "999", "64"),
        ] {
            let error = read(&[(name, text)]).expect_err(name);
            assert!(error.contains(name) && error.contains(text) && error.contains(may_be), "{error}");
        }
        let error = read(&[("TOKEN_SECRETS", "hunter2")]).expect_err("too short");
        assert!(error.contains("TOKEN_SECRETS") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn origins_are_compared_whole() {
        let any = read(&[]).expect("defaults");
        assert!(any.origin_allowed("https://x.org") && any.origin_allowed("null"));
        let some = read(&[("ALLOW_ORIGINS", "https://a.org, https://b.org")]).expect("a list");
        assert!(some.origin_allowed("https://b.org"));
        assert!(!some.origin_allowed("https://b.org.evil.org") && !some.origin_allowed("null"));
    }
}
