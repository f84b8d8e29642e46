//! The list of inodes that were unlinked while open.
