//! hearth: api.
