//! Errors as the API tells them: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Always `about:blank`; `code` tells the problems apart.
    #[serde(rename = "type", default = "about_blank")]
    pub problem_type: String,
    /// The HTTP status; 0 inside an operation.
    #[serde(default)]
    pub status: u16,
    pub title: String,
    /// Stable, kebab-case.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// To quote when asking for help.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Of bad input: which field, and what is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldProblem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldProblem {
    /// The path, `spec.vcpus`.
    pub field: String,
    pub detail: String,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}
