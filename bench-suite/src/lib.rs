//! Every claim of the workspace, measured against its peers in one run.
