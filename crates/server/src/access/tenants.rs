//! What is left of each tenant's limits. Tenants that a gateway names are not known beforehand: as many are kept apart
//! as fit a bound, and the rest share one allowance, so that made-up names cost nobody memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::{Limiter, Limits};
use super::refusal::Whose;

/// Tenants without an entry of their own that are kept apart.
const MOST: usize = 10_000;

/// The limits of tenants.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    named: HashMap<Arc<str>, Arc<Limiter>>,
    /// Of those without an entry.
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    limits: Limits,
    met: Mutex<HashMap<Arc<str>, Arc<Limiter>>>,
    /// Of those that came when there was no room.
    shared: Arc<Limiter>,
}

impl Tenants {
    /// Limits by name and of everybody else; what is left of them goes on from `before`.
    pub(crate) fn new(
        named: impl IntoIterator<Item = (Arc<str>, Limits)>,
        rest: Option<Limits>,
        before: Option<&Self>,
    ) -> Self {
        let kept = |name: &str, limits| {
            let before = before.and_then(|before| before.named.get(name));
            Limiter::kept(before, limits, Whose::Tenant)
        };
        let named = named.into_iter().map(|(name, limits)| {
            let limiter = kept(&name, limits);
            (name, limiter)
        });
        let rest = rest.filter(Limits::any).map(|limits| {
            let same = before.and_then(|before| before.rest.as_ref()).filter(|rest| rest.limits == limits);
            let (met, shared) = match same {
                Some(same) => (same.met().clone(), Arc::clone(&same.shared)),
                None => (HashMap::new(), Limiter::new(limits, Whose::Tenant)),
            };
            Rest { limits, met: Mutex::new(met), shared }
        });
        Self { named: named.collect(), rest }
    }

    /// What is left of a tenant's limits; none where it has none.
    pub(crate) fn of(&self, tenant: &str) -> Option<Arc<Limiter>> {
        if let Some(limiter) = self.named.get(tenant) {
            return Some(Arc::clone(limiter));
        }
        self.rest.as_ref().map(|rest| rest.of(tenant, MOST))
    }
}

impl Rest {
    fn met(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Limiter>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, tenant: &str, most: usize) -> Arc<Limiter> {
        let mut met = self.met();
        if let Some(limiter) = met.get(tenant) {
            limiter.touch();
            return Arc::clone(limiter);
        }
        if met.len() >= most {
            // Forgetting these changes nothing: a fresh limiter would let the same through. One that an entry or a
            // call still holds is not forgotten, or it would be there twice.
            met.retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.is_as_new());
        }
        if met.len() >= most {
            return Arc::clone(&self.shared);
        }
        let limiter = Limiter::new(self.limits, Whose::Tenant);
        limiter.touch();
        met.insert(tenant.into(), Arc::clone(&limiter));
        limiter
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn slow(burst: u32) -> Limits {
        Limits::new(Some(0.001), Some(burst), None).unwrap()
    }

    #[test]
    fn a_tenant_uses_up_its_own_alone_and_a_reload_gives_nothing_back() {
        let entries = || [(Arc::from("shop"), slow(1))];
        let tenants = Tenants::new(entries(), Some(slow(1)), None);
        for tenant in ["shop", "a", "b"] {
            tenants.of(tenant).unwrap().charge(ONE).unwrap();
            assert!(tenants.of(tenant).unwrap().charge(ONE).is_err(), "{tenant}");
        }
        let again = Tenants::new(entries(), Some(slow(1)), Some(&tenants));
        for tenant in ["shop", "a", "b"] {
            assert!(again.of(tenant).unwrap().charge(ONE).is_err(), "{tenant}");
        }
        let changed = Tenants::new([(Arc::from("shop"), slow(2))], None, Some(&again));
        changed.of("shop").unwrap().charge(ONE).unwrap();
        assert!(changed.of("a").is_none(), "nobody limits it any more");
    }

    #[test]
    fn names_beyond_the_bound_share_one_allowance() {
        let limits = slow(1);
        let rest = Rest { limits, met: Mutex::default(), shared: Limiter::new(limits, Whose::Tenant) };
        for i in 0..1_000 {
            let _ = rest.of(&format!("made up {i}"), 8).charge(ONE);
        }
        assert_eq!(rest.met().len(), 8);
        assert!(rest.of("another", 8).charge(ONE).is_err(), "the shared one is used up");
        let idle = Limits::new(None, None, Some(5)).unwrap();
        let rest = Rest { limits: idle, met: Mutex::default(), shared: Limiter::new(idle, Whose::Tenant) };
        let held = rest.of("held", 8).enter().unwrap();
        for i in 0..1_000 {
            rest.of(&format!("tenant {i}"), 8);
        }
        assert!(rest.met().len() <= 8 && rest.met().contains_key("held"), "who is idle is forgotten");
        drop(held);
    }
}
