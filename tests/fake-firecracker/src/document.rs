//! The API document (Swagger 2.0, YAML): which paths and methods there are, and what their bodies look like.

use crate::schema;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the document is; the default is where hearth's developers have it.
pub const VARIABLE: &str = "HEARTH_FIRECRACKER_API";

pub struct Document {
    paths: Map<String, Value>,
    definitions: Value,
    version: String,
}

/// An operation of the document, found by a request.
pub struct Operation {
    /// As in the document: `/drives/{drive_id}`.
    pub template: String,
    /// What stands in the place of `{…}`.
    pub id: Option<String>,
    body: Option<Body>,
}

struct Body {
    schema: Value,
    required: bool,
}

impl Document {
    /// The path in the variable, else beside the repository. `Err` is why a test is skipped.
    pub fn find() -> Result<PathBuf, String> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs/firecracker-1.16.1.yaml");
        let path = std::env::var_os(VARIABLE).map_or(beside, PathBuf::from);
        if path.is_file() { Ok(path) } else { Err(format!("Firecracker's API document is not there (let {VARIABLE} name it)")) }
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let document: Value = serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        ensure!(document["swagger"] == "2.0", "{} is no Swagger 2.0 document", path.display());
        let paths = document["paths"].as_object().context("no paths")?.clone();
        let version = document["info"]["version"].as_str().context("no version")?.to_owned();
        Ok(Self { paths, definitions: document["definitions"].clone(), version })
    }

    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Name and schema of all that it defines.
    pub fn definitions(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.definitions.as_object().into_iter().flatten()
    }

    /// `GET /drives/{drive_id}` and so on, all of them.
    pub fn operations(&self) -> impl Iterator<Item = String> {
        self.paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
        })
    }

    #[must_use]
    pub fn operation(&self, method: &str, path: &str) -> Option<Operation> {
        let (template, id) = self.paths.keys().find_map(|template| Some((template, matches(template, path)?)))?;
        let operation = self.paths[template].get(method.to_lowercase())?;
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let body = parameters.into_iter().find(|parameter| parameter["in"] == "body");
        let body = body.map(|body| Body { schema: body["schema"].clone(), required: body["required"] == true });
        Some(Operation { template: template.clone(), id: id.map(str::to_owned), body })
    }

    /// `Err` is what is wrong with the body.
    pub fn check(&self, operation: &Operation, body: Option<&Value>) -> Result<(), String> {
        match (&operation.body, body) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("a body where the document has none".into()),
            (Some(body), None) if body.required => Err("no body where the document wants one".into()),
            (Some(_), None) => Ok(()),
            (Some(wanted), Some(given)) => schema::check(given, &wanted.schema, &self.definitions),
        }
    }
}

/// `Some(None)`: the same; `Some(Some(id))`: the same with that in place of its one parameter.
fn matches<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let Some((before, _)) = template.split_once('{') else { return (template == path).then_some(None) };
    let id = path.strip_prefix(before)?;
    (!id.is_empty() && !id.contains('/')).then_some(Some(id))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_path_is_found_by_its_template() {
        assert_eq!(matches("/drives/{drive_id}", "/drives/root"), Some(Some("root")));
        assert_eq!(matches("/drives/{drive_id}", "/drives/"), None);
        assert_eq!(matches("/drives/{drive_id}", "/drives/a/b"), None);
        assert_eq!(matches("/mmds", "/mmds"), Some(None));
        assert_eq!(matches("/mmds", "/mmds/config"), None);
    }
}
