//! Read-mostly concurrent map, snapshot map and RCU cell with plain-store read sections.
