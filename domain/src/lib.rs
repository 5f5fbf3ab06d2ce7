//! hearth: domain.
