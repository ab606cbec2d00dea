//! Who may call, and what a stranger may cost: certificates, tokens, limits, panics. A layer in front of the services
//! asks before a body is read; what a decision is, it does not know. Connections are `listen`'s.

mod caller;
mod counts;
mod gate;
mod kept;
mod limits;
mod refusal;
mod scope;
pub(crate) mod secret;
mod tenants;
mod tls;
mod tokens;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tonic::transport::Server;

use crate::config::{AccessConfig, ConfigError};
use crate::listen::Peer;

pub(crate) use caller::{Account, Caller};
pub(crate) use counts::Counts;
pub(crate) use refusal::Refusal;
pub(crate) use scope::Scope;
pub(crate) use tls::names;
pub(crate) use tokens::Tokens;

use caller::{Known, Permits};
use gate::Gate;
use limits::{Limiter, Limits};
pub(crate) use refusal::Whose;
use scope::{Needs, Scopes, needs};
use secret::Presented;
use tls::Tls;
use tokens::is_tenant;
use unread::Room;

/// Which listener a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Decisions, outcomes, monitors.
    Public,
    /// Administration.
    Admin,
}

/// Certificates and tokens in force, and what came of them.
#[derive(Debug)]
pub(crate) struct Access {
    config: AccessConfig,
    /// The files as they were before they were read.
    read_from: kept::Stamps,
    tls: Option<ArcSwap<Tls>>,
    tokens: Option<ArcSwap<Tokens>>,
    /// Who shows nothing, where that is allowed beside tokens, or a certificate that needs no entry.
    anybody: Arc<Known>,
    room: Arc<Room>,
    pub(crate) counts: Arc<Counts>,
}

impl Access {
    /// Reads certificates and tokens.
    ///
    /// # Errors
    /// With everything that is wrong with them.
    pub(crate) fn open(config: &AccessConfig) -> Result<Arc<Self>, ConfigError> {
        let read_from = kept::Stamps::of(config);
        let mut problems = Vec::new();
        let mut or_problems = |found: Vec<String>| problems.extend(found);
        let tls = config.tls.as_ref().map(|files| Tls::read(files, UnixTime::now()));
        let tls = tls.and_then(|read| read.map_err(&mut or_problems).ok());
        let tokens = config.tokens.as_ref().map(|file| Tokens::read(file, None));
        let tokens = tokens.and_then(|read| read.map_err(&mut or_problems).ok());
        if !problems.is_empty() {
            return Err(ConfigError::Refused(problems));
        }
        let limiter = Limiter::new(Limits::default(), Whose::Caller);
        let (name, scopes) = ("anonymous".to_owned(), Scopes::ANONYMOUS);
        Ok(Arc::new(Self {
            tls: tls.map(ArcSwap::from_pointee),
            tokens: tokens.map(ArcSwap::from_pointee),
            anybody: Arc::new(Known { name, scopes, tenant: None, names_tenant: false, limiter }),
            room: Arc::new(Room::new(config.max_unread_bytes)),
            counts: Arc::default(),
            config: config.clone(),
            read_from,
        }))
    }

    pub(crate) fn config(&self) -> &AccessConfig {
        &self.config
    }

    /// A server of HTTP/2 with bounds on what a peer may cost; who calls, its [`Access::gate`] asks.
    pub(crate) fn http2(&self, door: Door) -> Server {
        gate::http2(&self.config, door)
    }

    /// The layer that asks before services are called.
    pub(crate) fn gate(self: &Arc<Self>) -> Gate {
        Gate::new(Arc::clone(self))
    }

    /// When the server's certificate ends, seconds since 1970; none without TLS.
    pub(crate) fn certificate_ends(&self) -> Option<i64> {
        self.tls.as_ref()?.load().ends
    }

    /// What a handshake that begins now is made with; none: connections are not encrypted.
    pub(crate) fn handshake(&self) -> Option<Arc<ServerConfig>> {
        Some(Arc::clone(&self.tls.as_ref()?.load().config))
    }

    /// Whether administration may be served on an address.
    ///
    /// # Errors
    /// Where nobody may administer, or what is said there could be read on the way.
    pub(crate) fn may_administer(&self, address: SocketAddr) -> Result<(), ConfigError> {
        self.config.may_administer(address)?;
        let (Some(file), Some(tokens)) = (&self.config.tokens, &self.tokens) else { return Ok(()) };
        without_admin(file, &tokens.load()).map_or(Ok(()), |problem| Err(ConfigError::Refused(vec![problem])))
    }

    /// Reads the certificates again; handshakes that begin from now on are made with them.
    ///
    /// # Errors
    /// With the file and what is wrong with it; the ones before stay in force.
    fn reload_certificates(&self) -> Result<String, Vec<String>> {
        let (Some(tls), Some(files)) = (&self.tls, &self.config.tls) else { return Ok(String::new()) };
        let read = Tls::read(files, UnixTime::now())?;
        let version = read.version.clone();
        tls.store(Arc::new(read));
        Ok(version)
    }

    /// Reads the tokens again; they count for every call that begins from now on, on open connections too.
    ///
    /// # Errors
    /// With the file, the line and what is wrong there; the ones before stay in force.
    fn reload_tokens(&self) -> Result<String, Vec<String>> {
        let (Some(tokens), Some(file)) = (&self.tokens, &self.config.tokens) else {
            return Ok(String::new());
        };
        let before = tokens.load();
        let read = Tokens::read(file, Some(&before))?;
        // Whoever takes the last administrator out could not put one in again.
        if before.grants(Scope::Admin)
            && let Some(problem) = without_admin(file, &read)
        {
            return Err(vec![problem]);
        }
        let version = read.version().to_owned();
        tokens.store(Arc::new(read));
        Ok(version)
    }

    /// Who makes this call and that it may; none where nobody is asked.
    fn admit<B>(&self, request: &Request<B>) -> Result<Option<(Caller, Permits)>, Refusal> {
        let certified = self.config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.tokens.is_none() && !certified {
            return Ok(None);
        }
        let needed = match needs(request.uri().path()) {
            Needs::Nothing => return Ok(None),
            Needs::AnyOf(scopes) => scopes,
            Needs::Unknown => return Err(Refusal::Unknown),
        };
        let peer = request.extensions().get::<Peer>();
        let caller = self.caller(request.headers(), peer)?;
        if !caller.scopes().any_of(needed) {
            return Err(Refusal::Scope { needed, held: caller.scopes() });
        }
        let permits = caller.enter()?;
        caller.charge(1)?;
        Ok(Some((caller, permits)))
    }

    fn caller(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Refusal> {
        let tokens = self.tokens.as_ref().map(ArcSwap::load);
        let names = peer.and_then(|peer| peer.certificate.as_deref());
        let known = match (presented(headers)?, &tokens, names) {
            (Some(presented), Some(tokens), _) => tokens.caller(presented, now)?,
            (None, Some(tokens), Some(names)) => match tokens.certified(names) {
                Some(known) => known,
                None if self.config.allow_anonymous => &self.anybody,
                None => return Err(Refusal::UnknownCertificate),
            },
            (None, Some(_), None) if self.config.allow_anonymous => &self.anybody,
            (_, None, Some(_)) => &self.anybody,
            (Some(_), None, None) => return Err(Refusal::WrongToken),
            (None, _, None) => return Err(Refusal::NoToken),
        };
        let named =
            headers.get("x-rung-tenant").map(|name| name.to_str().ok().filter(|name| is_tenant(name)));
        let tenant = match named {
            None => known.tenant.clone(),
            Some(None) => return Err(Refusal::TenantName),
            Some(Some(name)) if known.tenant.as_ref().is_some_and(|own| *own.name == *name) => {
                known.tenant.clone()
            }
            Some(Some(name)) if known.names_tenant => tokens.as_ref().map(|tokens| tokens.tenant(name)),
            Some(Some(_)) => return Err(Refusal::NamesTenant),
        };
        Ok(Caller::new(Arc::clone(known), tenant))
    }
}

/// Checks the text of a file of tokens.
///
/// # Errors
/// With everything that is wrong with it.
pub(crate) fn check_tokens(text: &str) -> Result<(), Vec<String>> {
    Tokens::parse(text, None).map(drop)
}

/// What is wrong with a file of tokens where administration is served.
fn without_admin(file: &std::path::Path, tokens: &Tokens) -> Option<String> {
    (!tokens.grants(Scope::Admin)).then(|| {
        format!(
            "{}: administration is served, but no entry has scope admin: `server token new --name operator --scope \
             admin` makes one",
            file.display()
        )
    })
}

/// The token of a call. Two of them are none: a proxy in front may have looked at the other.
fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let token = text
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.and_then(|(_, token)| Presented::parse(token.trim_matches(' ')));
    token.map(Some).ok_or(Refusal::NotAToken)
}

fn now() -> Timestamp {
    Timestamp::now()
}
