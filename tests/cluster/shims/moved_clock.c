/* Preloaded into a process: its wall clock is off by the number of seconds in the file that is named by
 * COVEY_TEST_CLOCK_OFFSET; without the file it is right. CLOCK_REALTIME alone moves, monotonic clocks never.
 * Nothing in a node's process waits until a time of the wall clock, which would ask the kernel, whose clock stays. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_NS 10000000LL

typedef int (*clock_reader)(clockid_t, struct timespec *);

static clock_reader real_clock(void) {
    static clock_reader real;
    if (real == NULL)
        real = (clock_reader)dlsym(RTLD_NEXT, "clock_gettime");
    return real;
}

static long told_s(void) {
    char text[32] = {0};
    const char *name = getenv("COVEY_TEST_CLOCK_OFFSET");
    int file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

static long offset_s(void) {
    static long offset;
    static long long looked_ns;
    struct timespec now;
    real_clock()(CLOCK_MONOTONIC, &now);
    long long now_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
    if (looked_ns == 0 || now_ns - looked_ns > LOOK_AGAIN_NS) {
        looked_ns = now_ns;
        offset = told_s();
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_clock()(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset_s();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (real == NULL)
        real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    if (result == 0)
        now->tv_sec += offset_s();
    return result;
}

time_t time(time_t *seconds) {
    static time_t (*real)(time_t *);
    if (real == NULL)
        real = (time_t (*)(time_t *))dlsym(RTLD_NEXT, "time");
    time_t now = real(NULL) + offset_s();
    if (seconds != NULL)
        *seconds = now;
    return now;
}
