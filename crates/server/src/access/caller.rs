//! Who is asking, as the rest of the server sees it: a name, a tenant, what is left of their limits.

use std::num::NonZeroU32;
use std::sync::Arc;

use tonic::Extensions;

use super::limits::{Limiter, Permit};
use super::refusal::Refusal;
use super::scope::Scopes;

/// Who is asking; in the extensions of a request wherever tokens or client certificates are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    known: Arc<Known>,
    tenant: Option<Tenant>,
}

/// What an entry of the tokens' file says of a caller.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) names_tenant: bool,
    pub(crate) limiter: Arc<Limiter>,
}

/// Whom a caller speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) name: Arc<str>,
    pub(crate) limiter: Option<Arc<Limiter>>,
}

impl Caller {
    pub(crate) fn new(known: Arc<Known>, tenant: Option<Tenant>) -> Self {
        Self { known, tenant }
    }

    /// The name of its entry.
    pub(crate) fn name(&self) -> &str {
        &self.known.name
    }

    /// Whom it speaks for.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| &*tenant.name)
    }

    /// What it may do.
    pub(crate) fn scopes(&self) -> Scopes {
        self.known.scopes
    }

    /// Takes `n` queries off its rate and off its tenant's. Where the tenant's is used up, the caller's own were
    /// taken all the same: giving them back would let a caller ask without end.
    pub(crate) fn charge(&self, n: usize) -> Result<(), Refusal> {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        let Some(n) = NonZeroU32::new(n) else { return Ok(()) };
        self.known.limiter.charge(n)?;
        self.tenant_limiter().map_or(Ok(()), |limiter| limiter.charge(n))
    }

    /// One call more under way, its own and its tenant's.
    pub(crate) fn enter(&self) -> Result<Permits, Refusal> {
        let own = self.known.limiter.enter()?;
        let tenant = self.tenant_limiter().map(Limiter::enter).transpose()?;
        Ok(Permits { _own: own, _tenant: tenant })
    }

    fn tenant_limiter(&self) -> Option<&Arc<Limiter>> {
        self.tenant.as_ref()?.limiter.as_ref()
    }
}

/// A call under way; dropped when its answer is over.
#[derive(Debug)]
pub(crate) struct Permits {
    _own: Permit,
    _tenant: Option<Permit>,
}

/// Whose rate the queries of a call are taken off; nobody's where nobody has to say who they are. The call itself was
/// one: a batch takes its other queries off, a stream each of its own.
#[derive(Debug, Clone)]
pub(crate) struct Account(Option<Caller>);

impl Account {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get().cloned())
    }

    /// Takes `n` queries off.
    pub(crate) fn charge(&self, n: usize) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |caller| caller.charge(n))
    }
}
