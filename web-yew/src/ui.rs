//! The parts that pages are made of. They know nothing of hearth's resources, but for the names of states.

pub mod badge;
pub mod button;
pub mod dialog;
pub mod field;
pub mod fold;
pub mod icon;
pub mod menu;
pub mod notice;
pub mod tabs;
pub mod text;
pub mod toast;

pub use badge::{badge, badge_for};
pub use button::{Button, Tone};
pub use dialog::Dialog;
pub use field::{Check, Field, Search};
pub use fold::Fold;
pub use icon::{Glyph, icon};
pub use menu::{Choice, Menu};
pub use notice::{Empty, Notice, ProblemNotice, Skeleton};
pub use tabs::Tabs;
pub use text::{Ago, Copyable, Meter, facts_view, labels_view};
