/* What nothing knows is refused as Linux refuses it; a test sees that vmrun tells. */
#include "check.h"
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

int main(void) {
    int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0), value = 1;
    SHOW(syscall(4000, 1, 2, 3));
    SHOW(ioctl(socket_fd, 0x4004abcd, &value));
    SHOW(ioctl(1, 0x5460abcd, &value));
    SHOW(prctl(0x7fff0001, 1, 2, 3, 4));
    SHOW(fcntl(socket_fd, 0x7777, 1));
    SHOW(setsockopt(socket_fd, SOL_SOCKET, 0x7777, &value, sizeof value));
    SHOW(socket(1234, SOCK_STREAM, 0));
    return 0;
}
