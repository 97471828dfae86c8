//! Constitutional AI from end to end: the library facade and the command line.
