//! What the rings of a program share.

mod settings;

pub use settings::{Settings, SettingsReader, SharedSettings};
