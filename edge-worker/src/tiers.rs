//! Where an object comes from: the isolate's memory, the data centre's cache, the store.
//!
//! Every tier above the store holds only what was verified on its way in, and what comes back from the cache is verified
//! again: it is somebody else's disk. Errors are kept nowhere. FRESH looks at what each tier has, counts the one that was
//! wrong, drops it everywhere and reads the store.

use std::cell::RefCell;
use std::rc::Rc;

use block_proto::frame::Tier;
use block_proto::{MAX_OBJECT, ReadError, envelope};
use bytes::Bytes;
use worker::{Context, Env, console_warn};

use crate::budget::{Budget, Work};
use crate::edge_cache::EdgeCache;
use crate::isolate;
use crate::memory::ObjectId;
use crate::settings::Settings;
use crate::source::{Source, SourceError};
use crate::tally::Tally;

/// Everything one invocation reads with.
pub struct Edge {
    /// The settings.
    pub settings: Settings,
    /// The bindings.
    pub env: Env,
    /// The invocation's account.
    pub budget: Rc<Budget>,
    /// What is reported at its end.
    pub tally: RefCell<Tally>,
    source: Source,
    cache: Option<EdgeCache>,
    /// Keeps the invocation alive for what goes on after the answer; a WebSocket does so by itself.
    context: Option<Context>,
}

impl Edge {
    /// Opens the store for one invocation that was addressed to `host`.
    pub fn open(settings: Settings, env: &Env, host: &str, context: Option<Context>) -> Result<Rc<Self>, String> {
        isolate::memory(|memory| memory.resize(settings.memory));
        Ok(Rc::new(Self {
            source: Source::open(settings.store, env)?,
            cache: settings.cache_api.then(|| EdgeCache::new(host)),
            budget: Budget::new(settings.limits),
            tally: RefCell::default(),
            env: env.clone(),
            settings,
            context,
        }))
    }

    /// Finds an object in memory, where it costs nothing.
    pub fn in_memory(&self, id: &ObjectId) -> Option<Bytes> {
        let stored = isolate::memory(|memory| memory.get(id))?;
        self.tally.borrow_mut().memory += 1;
        Some(stored)
    }

    /// Reads an object for an address, past all caches if it says so and has not said so too often.
    pub async fn read(self: &Rc<Self>, id: &ObjectId, fresh_for: Option<&str>) -> Result<(Bytes, Tier), ReadError> {
        let Some(address) = fresh_for else { return self.object(id).await };
        isolate::take_fresh(isolate::now(), address).map_err(ReadError::RateLimited)?;
        self.fresh(id).await
    }

    /// Reads an object from the nearest tier that has it.
    pub async fn object(self: &Rc<Self>, id: &ObjectId) -> Result<(Bytes, Tier), ReadError> {
        if let Some(stored) = self.in_memory(id) {
            return Ok((stored, Tier::Memory));
        }
        if let Some(stored) = self.in_cache(id).await? {
            if self.verified(id, &stored) {
                self.tally.borrow_mut().cache += 1;
                isolate::memory(|memory| memory.put(id.clone(), stored.clone()));
                return Ok((stored, Tier::Cache));
            }
            self.tally.borrow_mut().wrong_cache += 1;
            console_warn!("object {} in the cache is damaged; it is read anew", id.hash);
        }
        self.from_store(id).await
    }

    /// Reads an object from the store, because what the client got was wrong.
    pub async fn fresh(self: &Rc<Self>, id: &ObjectId) -> Result<(Bytes, Tier), ReadError> {
        self.tally.borrow_mut().fresh += 1;
        let mut good = None;
        if let Some(stored) = isolate::memory(|memory| memory.remove(id)) {
            if self.verified(id, &stored) {
                good = Some((stored, Tier::Memory));
            } else {
                self.tally.borrow_mut().wrong_memory += 1;
                console_warn!("object {} in memory was damaged", id.hash);
            }
        }
        if let Some(stored) = self.in_cache(id).await? {
            if self.verified(id, &stored) {
                good = good.or(Some((stored, Tier::Cache)));
            } else {
                self.tally.borrow_mut().wrong_cache += 1;
                console_warn!("object {} in the cache was damaged", id.hash);
            }
            let _permit = self.budget.subrequest().await.ok_or(ReadError::Budget)?;
            if let Some(cache) = &self.cache
                && let Err(error) = cache.delete(id).await
            {
                console_warn!("the cache did not drop {}: {error}", id.hash);
            }
        }
        match (self.from_store(id).await, good) {
            // The store fails, but what there was has just been verified anew: better than nothing, and true.
            (Err(_), Some((stored, tier))) => {
                self.put(id, &stored);
                Ok((stored, tier))
            }
            (read, _) => read,
        }
    }

    /// Reads what is not an object, such as a tag record. It is kept nowhere.
    pub async fn record(&self, key: &str) -> Result<Bytes, ReadError> {
        let _permit = self.budget.subrequest().await.ok_or(ReadError::Budget)?;
        self.tally.borrow_mut().origin += 1;
        self.source.read(key).await.map_err(read_error)
    }

    /// What the cache has, verified or not; a cache that fails has nothing.
    async fn in_cache(&self, id: &ObjectId) -> Result<Option<Bytes>, ReadError> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let _permit = self.budget.subrequest().await.ok_or(ReadError::Budget)?;
        Ok(cache.get(id).await.unwrap_or_else(|error| {
            console_warn!("the cache cannot be read: {error}");
            None
        }))
    }

    async fn from_store(self: &Rc<Self>, id: &ObjectId) -> Result<(Bytes, Tier), ReadError> {
        let stored = self.record(&id.prefix.object(&id.hash)).await?;
        if !self.verified(id, &stored) {
            self.tally.borrow_mut().wrong_origin += 1;
            return Err(ReadError::Corrupt);
        }
        self.put(id, &stored);
        Ok((stored, Tier::Origin))
    }

    /// Puts a verified object into every cache.
    fn put(self: &Rc<Self>, id: &ObjectId, stored: &Bytes) {
        isolate::memory(|memory| memory.put(id.clone(), stored.clone()));
        self.keep(id.clone(), stored.clone());
    }

    /// Puts an object into the cache, while the answer is already on its way.
    fn keep(self: &Rc<Self>, id: ObjectId, stored: Bytes) {
        if self.cache.is_none() || self.budget.nearly_used_up() {
            return;
        }
        let edge = Rc::clone(self);
        self.later(async move {
            let (Some(cache), Some(_permit)) = (&edge.cache, edge.budget.subrequest().await) else { return };
            if let Err(error) = cache.put(&id, &stored).await {
                console_warn!("the cache cannot be written: {error}");
            }
        });
    }

    /// Does something beside the answer.
    pub fn later(&self, work: impl Future<Output = ()> + 'static) {
        match &self.context {
            Some(context) => context.wait_until(work),
            None => wasm_bindgen_futures::spawn_local(work),
        }
    }

    fn verified(&self, id: &ObjectId, stored: &Bytes) -> bool {
        self.budget.worked(Work::Verify(stored.len()));
        envelope::open(stored, &id.hash, MAX_OBJECT).is_ok()
    }
}

fn read_error(error: SourceError) -> ReadError {
    match error {
        SourceError::Absent => ReadError::NotFound,
        SourceError::TooLarge => ReadError::Corrupt,
        SourceError::Failed(text) => {
            // The platform's words are for the log, not for a stranger.
            console_warn!("the store cannot be read: {text}");
            ReadError::Upstream("the store cannot be read".to_owned())
        }
    }
}
