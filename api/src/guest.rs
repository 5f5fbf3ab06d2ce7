//! Frames between host and guest.
