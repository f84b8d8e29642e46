/* Reads a file block by block and prints a line for each MiB, then the FNV-1a hash of all of it. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static unsigned char block[4096];
	uint64_t hash = 0xcbf29ce484222325ull;
	unsigned long total = 0;
	ssize_t len;
	int fd = open(argc > 1 ? argv[1] : "/data", O_RDONLY);

	if (fd < 0) {
		perror("open");
		return 1;
	}
	while ((len = read(fd, block, sizeof block)) > 0) {
		for (ssize_t i = 0; i < len; i++)
			hash = (hash ^ block[i]) * 0x100000001b3ull;
		total += len;
		if (total % (1 << 20) == 0) {
			printf("%lu MiB\n", total >> 20);
			fflush(stdout);
		}
	}
	if (len < 0) {
		perror("read");
		return 1;
	}
	printf("%016llx\n", (unsigned long long)hash);
	return 0;
}
