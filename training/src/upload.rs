//! Files of a folder into an object store: `s3://`, `gs://`, `az://` and what else the library knows, configured by the
//! environment (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME and so on).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object_store::{ObjectStoreExt, PutPayload, parse_url_opts};
use url::Url;

/// Whether an address is one of an object store rather than a folder.
pub fn is_address(out: &str) -> bool {
    out.contains("://")
}

/// Puts files below a folder under an address, with the same names.
///
/// # Errors
/// When the address is none, or the store refuses a file; files before it are there.
pub fn upload(folder: &Path, files: &[PathBuf], to: &str) -> Result<()> {
    let address = Url::parse(to).with_context(|| to.to_owned())?;
    let (store, root) = parse_url_opts(&address, std::env::vars().map(|(k, v)| (k.to_ascii_lowercase(), v)))
        .with_context(|| to.to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for file in files {
            let name = file.strip_prefix(folder)?;
            let parts = name.iter().map(|part| part.to_string_lossy().into_owned());
            let path = parts.fold(root.clone(), |path, part| path.join(part));
            let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
            let put = store.put(&path, PutPayload::from(bytes)).await;
            put.with_context(|| format!("{to}: {path}"))?;
        }
        Ok(())
    })
}
