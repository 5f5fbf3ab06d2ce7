//! hearth: storage.
