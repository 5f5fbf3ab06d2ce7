//! hearth: tests.
