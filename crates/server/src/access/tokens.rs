//! The file of tokens: who may call, what they may do, and how much. Parsed once, checked as a whole; a bad file names
//! its line and key. How a secret is compared is in `secret`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::caller::{Known, Tenant};
use super::limits::{Limiter, Limits};
use super::refusal::{Refusal, Whose};
use super::scope::{Scope, Scopes};
use super::secret::{Presented, SecretHash, TokenId};
use super::tenants::Tenants;

/// Characters from which on a word of a refusal is taken for a secret: those of ours have 43, hashes 64.
const SHORTEST_SECRET: usize = 32;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<TokenEntry>,
    #[serde(default)]
    certificate: Vec<CertificateEntry>,
    #[serde(default)]
    tenant: Vec<TenantEntry>,
    tenant_default: Option<Spanned<LimitsEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: Spanned<String>,
    id: Spanned<TokenId>,
    sha256: SecretHash,
    scopes: Spanned<Vec<Scope>>,
    tenant: Option<String>,
    #[serde(default)]
    names_tenant: bool,
    expires: Option<Timestamp>,
    requests_per_second: Option<f64>,
    burst: Option<u32>,
    concurrent: Option<u32>,
}

/// A client certificate that was verified against `--tls-client-ca`, by one of its alternative names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: Spanned<String>,
    san: Spanned<String>,
    scopes: Spanned<Vec<Scope>>,
    tenant: Option<String>,
    #[serde(default)]
    names_tenant: bool,
    requests_per_second: Option<f64>,
    burst: Option<u32>,
    concurrent: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
    name: Spanned<String>,
    requests_per_second: Option<f64>,
    burst: Option<u32>,
    concurrent: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsEntry {
    requests_per_second: Option<f64>,
    burst: Option<u32>,
    concurrent: Option<u32>,
}

/// A state of the file that was found whole.
#[derive(Debug)]
pub(crate) struct Tokens {
    by_id: HashMap<TokenId, Entry>,
    by_san: HashMap<String, Arc<Known>>,
    tenants: Tenants,
    version: String,
}

#[derive(Debug)]
struct Entry {
    hash: SecretHash,
    expires: Option<Timestamp>,
    known: Arc<Known>,
}

impl Tokens {
    /// Reads a file; what is left of limits goes on from `before`.
    ///
    /// # Errors
    /// With everything that is wrong, each with the file, the line and the key.
    pub(crate) fn read(file: &Path, before: Option<&Self>) -> Result<Self, Vec<String>> {
        let named = |reason: String| format!("{}: {}", file.display(), reason.trim_end());
        let text = std::fs::read_to_string(file).map_err(|error| vec![named(error.to_string())])?;
        Self::parse(&text, before).map_err(|problems| problems.into_iter().map(named).collect())
    }

    /// The same of a text, without the file's name.
    pub(crate) fn parse(text: &str, before: Option<&Self>) -> Result<Self, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![without_values(text, &error)])?;
        let mut reader = Reader { text, problems: Vec::new() };
        let tenants = reader.tenants(&file, before);
        let (mut by_id, mut by_san) = (HashMap::new(), HashMap::new());
        for entry in file.token {
            let at = entry.id.span();
            let of_before = before.and_then(|before| before.by_id.get(entry.id.get_ref()));
            let limits = (entry.requests_per_second, entry.burst, entry.concurrent);
            let line = Line { name: entry.name, scopes: entry.scopes, tenant: entry.tenant, limits };
            let known = reader.known(line, entry.names_tenant, &tenants, of_before.map(|e| &*e.known));
            let found = Entry { hash: entry.sha256, expires: entry.expires, known };
            if by_id.insert(entry.id.into_inner(), found).is_some() {
                reader.problem(&at, "token.id: expected one entry for each id, found a second");
            }
        }
        for entry in file.certificate {
            let at = entry.san.span();
            let san = entry.san.into_inner();
            if !(san.starts_with("dns:") || san.starts_with("uri:")) {
                reader.problem(
                    &at,
                    "certificate.san: expected dns:NAME or uri:URI, such as uri:spiffe://prod/checkout",
                );
            }
            let of_before = before.and_then(|before| before.by_san.get(&san));
            let limits = (entry.requests_per_second, entry.burst, entry.concurrent);
            let line = Line { name: entry.name, scopes: entry.scopes, tenant: entry.tenant, limits };
            let known = reader.known(line, entry.names_tenant, &tenants, of_before.map(|known| &**known));
            if by_san.insert(san, known).is_some() {
                reader.problem(&at, "certificate.san: expected one entry for each name, found a second");
            }
        }
        let version = hex::encode(&Sha256::digest(text.as_bytes())[..6]);
        let problems = reader.problems;
        if problems.is_empty() { Ok(Self { by_id, by_san, tenants, version }) } else { Err(problems) }
    }

    /// Which state of the file it is, 12 hex digits.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether anybody may do this.
    pub(crate) fn grants(&self, scope: Scope) -> bool {
        let tokens = self.by_id.values().map(|entry| &entry.known);
        tokens.chain(self.by_san.values()).any(|known| known.scopes.has(scope))
    }

    /// Whose token it is.
    pub(crate) fn caller(
        &self,
        presented: Presented<'_>,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<&Arc<Known>, Refusal> {
        let entry = self.by_id.get(presented.id);
        let kept = entry.map_or(&SecretHash::OF_NOBODY, |entry| &entry.hash);
        let matches = kept.matches(&presented.hash());
        let entry = entry.filter(|_| matches).ok_or(Refusal::WrongToken)?;
        match entry.expires {
            Some(expires) if expires <= now() => Err(Refusal::Expired),
            _ => Ok(&entry.known),
        }
    }

    /// Whose certificate it is, by the first of its names that has an entry.
    pub(crate) fn certified(&self, names: &[String]) -> Option<&Arc<Known>> {
        names.iter().find_map(|name| self.by_san.get(name))
    }

    /// A tenant that a caller names.
    pub(crate) fn tenant(&self, name: &str) -> Tenant {
        Tenant { name: name.into(), limiter: self.tenants.of(name) }
    }
}

/// A refusal of the parser without the line it quotes, and without what it repeats of it where that is as long as a
/// secret or its hash: they are not for logs, in whatever field they were put by mistake.
fn without_values(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(1, |span| line(text, &span));
    let ends_word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let mut told = format!("line {at}: ");
    for piece in error.message().split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        told.push_str(if word.len() < SHORTEST_SECRET { word } else { "…" });
        told.push_str(&piece[word.len()..]);
    }
    told
}

fn line(text: &str, at: &Range<usize>) -> usize {
    text.get(..at.start).map_or(1, |before| before.matches('\n').count() + 1)
}

/// What tokens and certificates have in common.
struct Line {
    name: Spanned<String>,
    scopes: Spanned<Vec<Scope>>,
    tenant: Option<String>,
    limits: (Option<f64>, Option<u32>, Option<u32>),
}

/// Collects what is wrong.
struct Reader<'a> {
    text: &'a str,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, at: &Range<usize>, what: &str) {
        self.problems.push(format!("line {}: {what}", line(self.text, at)));
    }

    fn limits(&mut self, at: &Range<usize>, of: (Option<f64>, Option<u32>, Option<u32>)) -> Limits {
        Limits::new(of.0, of.1, of.2).unwrap_or_else(|expected| {
            self.problem(at, expected);
            Limits::default()
        })
    }

    fn tenants(&mut self, file: &File, before: Option<&Tokens>) -> Tenants {
        let mut named: HashMap<Arc<str>, Limits> = HashMap::new();
        for entry in &file.tenant {
            let at = entry.name.span();
            let limits = self.limits(&at, (entry.requests_per_second, entry.burst, entry.concurrent));
            if !is_tenant(entry.name.get_ref()) {
                self.problem(&at, "tenant.name: expected 1 to 128 visible ASCII characters");
            }
            if named.insert(entry.name.get_ref().as_str().into(), limits).is_some() {
                self.problem(&at, "tenant.name: expected one entry for each tenant, found a second");
            }
        }
        let rest = file.tenant_default.as_ref().map(|entry| {
            let limits = entry.get_ref();
            self.limits(&entry.span(), (limits.requests_per_second, limits.burst, limits.concurrent))
        });
        Tenants::new(named, rest, before.map(|before| &before.tenants))
    }

    fn known(
        &mut self,
        line: Line,
        names_tenant: bool,
        tenants: &Tenants,
        before: Option<&Known>,
    ) -> Arc<Known> {
        let at = line.name.span();
        if line.name.get_ref().is_empty() {
            self.problem(&at, "name: expected one, found nothing");
        }
        if line.scopes.get_ref().is_empty() {
            self.problem(&line.scopes.span(), "scopes: expected at least one of route, outcome, read, admin");
        }
        if line.tenant.as_deref().is_some_and(|tenant| !is_tenant(tenant)) {
            self.problem(&at, "tenant: expected 1 to 128 visible ASCII characters");
        }
        let limits = self.limits(&at, line.limits);
        let limiter = Limiter::kept(before.map(|before| &before.limiter), limits, Whose::Caller);
        let tenant = line.tenant.map(|name| Tenant { limiter: tenants.of(&name), name: name.into() });
        let (name, scopes) =
            (line.name.into_inner(), line.scopes.into_inner().into_iter().collect::<Scopes>());
        Arc::new(Known { name, scopes, tenant, names_tenant, limiter })
    }
}

/// A name that a header can carry and a log can hold.
pub(crate) fn is_tenant(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::secret::Minted;
    use super::*;

    /// Pieces of files.
    const TABLE: &str = r"\[\[(token|tenant|certificate)\]\]\n";
    const KEY: &str = "(name|id|san|burst|scopes|expires)";
    const VALUE: &str = r#"("[a-z0-9:]{0,20}"|[0-9.]{1,6}|\[\])"#;

    fn pieces() -> impl Strategy<Value = String> {
        prop::string::string_regex(&format!("({TABLE}|{KEY} = {VALUE}\n){{0,8}}")).unwrap()
    }

    const NEVER: fn() -> Timestamp = || panic!("the time is asked only where a token ends");

    fn entry(minted: &Minted, rest: &str) -> String {
        let (id, sha256) = (&minted.id, &minted.sha256);
        format!("[[token]]\nname = \"checkout\"\nid = \"{id}\"\nsha256 = \"{sha256}\"\n{rest}\n")
    }

    #[test]
    fn several_tokens_of_one_caller_hold_at_once_until_one_is_taken_out() {
        let (old, new) = (Minted::draw().unwrap(), Minted::draw().unwrap());
        let scopes = "scopes = [\"route\", \"outcome\"]";
        let both = format!("{}{}", entry(&old, scopes), entry(&new, scopes));
        let tokens = Tokens::parse(&both, None).unwrap();
        for minted in [&old, &new] {
            let known = tokens.caller(Presented::parse(&minted.token).unwrap(), NEVER).unwrap();
            assert_eq!(
                (known.name.as_str(), known.scopes.to_string().as_str()),
                ("checkout", "route or outcome")
            );
        }
        let rotated = Tokens::parse(&entry(&new, scopes), Some(&tokens)).unwrap();
        assert_ne!(rotated.version(), tokens.version());
        let gone = rotated.caller(Presented::parse(&old.token).unwrap(), NEVER).unwrap_err();
        assert_eq!(gone, Refusal::WrongToken);
        rotated.caller(Presented::parse(&new.token).unwrap(), NEVER).unwrap();
    }

    #[test]
    fn a_wrong_secret_and_an_unknown_id_are_one_refusal() {
        let (known, other) = (Minted::draw().unwrap(), Minted::draw().unwrap());
        let tokens = Tokens::parse(&entry(&known, "scopes = [\"read\"]"), None).unwrap();
        let secret = &other.token[other.token.len() - 43..];
        let wrong = format!("rung_{}_{secret}", known.id);
        for token in [&wrong, &other.token] {
            let refused = tokens.caller(Presented::parse(token).unwrap(), NEVER).unwrap_err();
            assert_eq!(refused, Refusal::WrongToken);
        }
    }

    #[test]
    fn a_token_ends_when_it_says() {
        let minted = Minted::draw().unwrap();
        let rest = "scopes = [\"read\"]\nexpires = \"2027-01-31T00:00:00Z\"";
        let tokens = Tokens::parse(&entry(&minted, rest), None).unwrap();
        let at = |time: &str| {
            let time: Timestamp = time.parse().unwrap();
            tokens.caller(Presented::parse(&minted.token).unwrap(), || time).map(|known| known.name.clone())
        };
        assert_eq!(at("2027-01-30T23:59:59Z").unwrap(), "checkout");
        assert_eq!(at("2027-01-31T00:00:00Z").unwrap_err(), Refusal::Expired);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line_and_without_a_hash() {
        let minted = Minted::draw().unwrap();
        let good = entry(&minted, "scopes = [\"read\"]");
        let one = |text: &str| Tokens::parse(text, None).unwrap_err().join("\n");
        let unknown = one(&format!("{good}colour = 3\n"));
        assert!(unknown.starts_with("line 6: unknown field `colour`"), "{unknown}");
        let scope = one(&good.replace("read", "write"));
        assert!(scope.starts_with("line 5: unknown variant `write`"), "{scope}");
        let hash = one(&good.replace(&minted.sha256, &minted.sha256[1..]));
        assert!(hash.starts_with("line 4: expected 64 hex digits"), "{hash}");
        assert!(!hash.contains(&minted.sha256[1..]));
        let misplaced = one(&format!("{good}burst = \"{}\"\n", minted.token));
        assert_eq!(misplaced, "line 6: invalid type: string \"…\", expected u32");
        let misplaced = one(&good.replace("read", &minted.sha256));
        assert!(misplaced.starts_with("line 5: unknown variant `…`, expected"), "{misplaced}");
        let id = one(&good.replace(&minted.id, "mine"));
        assert!(id.starts_with("line 3: expected 16 hex digits"), "{id}");
        let several = format!(
            "{good}{good}[[certificate]]\nname = \"\"\nsan = \"x\"\nscopes = []\n[tenant_default]\nburst = 3\n"
        );
        let several = one(&several);
        for expected in [
            "line 8: token.id: expected one entry",
            "line 12: name: expected one",
            "line 13: certificate.san: expected dns:NAME",
            "line 14: scopes: expected at least one",
            "burst: expected requests_per_second",
        ] {
            assert!(several.contains(expected), "{expected}: {several}");
        }
    }

    #[test]
    fn a_certificate_is_found_by_any_of_its_names() {
        let text =
            "[[certificate]]\nname = \"mesh\"\nsan = \"uri:spiffe://prod/checkout\"\nscopes = [\"admin\"]\n";
        let tokens = Tokens::parse(text, None).unwrap();
        let names = ["dns:checkout".to_owned(), "uri:spiffe://prod/checkout".to_owned()];
        assert_eq!(tokens.certified(&names).unwrap().name, "mesh");
        assert!(tokens.certified(&names[..1]).is_none());
        assert!(tokens.grants(Scope::Admin) && !tokens.grants(Scope::Route));
    }

    #[test]
    fn a_reload_gives_nobody_a_fresh_burst() {
        let minted = Minted::draw().unwrap();
        let text = entry(&minted, "scopes = [\"route\"]\nrequests_per_second = 0.001\nburst = 2");
        let presented = Presented::parse(&minted.token).unwrap();
        let charge = |tokens: &Tokens| {
            tokens.caller(presented, NEVER).unwrap().limiter.charge(std::num::NonZeroU32::MIN)
        };
        let tokens = Tokens::parse(&text, None).unwrap();
        charge(&tokens).unwrap();
        let again = Tokens::parse(&format!("{text}# a word\n"), Some(&tokens)).unwrap();
        charge(&again).unwrap();
        assert!(charge(&again).is_err() && charge(&tokens).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_but_never_panics(text in pieces()) {
            if let Err(problems) = Tokens::parse(&text, None) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
