//! Terminal settings (termios(3), tty_ioctl(4)).
