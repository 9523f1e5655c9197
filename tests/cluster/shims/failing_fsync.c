/* Preloaded into a process: from the moment the file named by COVEY_TEST_FSYNC_FAILS exists, every attempt to
 * bring data to the disk fails with EIO, as on a disk that has died. Reads and writes go on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void) {
    const char *trigger = getenv("COVEY_TEST_FSYNC_FAILS");
    return trigger != NULL && access(trigger, F_OK) == 0;
}

static int fail(void) {
    errno = EIO;
    return -1;
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return failing() ? fail() : real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return failing() ? fail() : real(file);
}

int sync_file_range(int file, off64_t offset, off64_t length, unsigned int flags) {
    int (*real)(int, off64_t, off64_t, unsigned int) =
        (int (*)(int, off64_t, off64_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    return failing() ? fail() : real(file, offset, length, flags);
}
