/* A disk that goes bad under a real program: preloaded, it stands between the program and the kernel
 * for the files of one folder.
 *
 * BAD_DISK_FOLDER  whose files
 * BAD_DISK_CALL    which call to them goes wrong: pwrite, ftruncate, fdatasync and fsync are counted
 * BAD_DISK_FAULT   "error": it fails with EIO, as every call behind it does
 *                  "power": the power goes: the process is gone at once
 * BAD_DISK_SEED    decides what becomes of what was not synced
 *
 * Either way each write that was not synced is then kept, lost or torn. That is what a kernel does with
 * pages that it could not write, and a disk with its cache; without it a program that forgets to sync
 * would never be found out, for the kernel itself lives on. */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A change that no sync has covered yet. */
struct change {
    struct change *earlier;
    int fd;
    ino_t file;          /* its number may stand for another file by now */
    off_t at;
    size_t count;        /* bytes written; 0 for a change of length */
    off_t length;        /* the file's, before and after */
    off_t length_after;
    size_t count_before; /* bytes that were overwritten or cut off */
    char *before, *after;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct change *unsynced;
static long calls;
static int is_bad;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

static void *found(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL)
        abort();
    return function;
}

__attribute__((constructor)) static void find(void) {
    real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))found("pwrite64");
    real_ftruncate = (int (*)(int, off_t))found("ftruncate64");
    real_fdatasync = (int (*)(int))found("fdatasync");
    real_fsync = (int (*)(int))found("fsync");
}

static void *allocated(size_t count) {
    void *memory = malloc(count ? count : 1);
    if (memory == NULL)
        abort();
    return memory;
}

static int is_ours(int fd) {
    const char *folder = getenv("BAD_DISK_FOLDER");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (folder == NULL || length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static struct stat status_of(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        memset(&status, 0, sizeof status);
    return status;
}

static uint64_t dice(void) {
    static uint64_t state;
    if (state == 0)
        state = strtoull(getenv("BAD_DISK_SEED"), NULL, 10) | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* `count` bytes are about to be written, or with none the length is about to change. */
static void note(int fd, off_t at, const void *bytes, size_t count, off_t length_after) {
    struct change *change = allocated(sizeof *change);
    struct stat status = status_of(fd);
    change->earlier = unsynced;
    change->fd = fd;
    change->file = status.st_ino;
    change->at = at;
    change->count = count;
    change->length = status.st_size;
    change->length_after = length_after;
    size_t kept = count;
    if (count == 0) /* What a shorter file loses. */
        kept = status.st_size > at ? (size_t)(status.st_size - at) : 0;
    change->before = allocated(kept);
    ssize_t taken = pread(fd, change->before, kept, at);
    change->count_before = taken > 0 ? (size_t)taken : 0;
    change->after = allocated(count);
    if (count > 0)
        memcpy(change->after, bytes, count);
    unsynced = change;
}

static void forget(int fd) {
    struct change **place = &unsynced;
    while (*place != NULL) {
        struct change *change = *place;
        if (change->fd != fd) {
            place = &change->earlier;
            continue;
        }
        *place = change->earlier;
        free(change->before);
        free(change->after);
        free(change);
    }
}

/* Brings the files back to what was synced, and does some of what came behind it once more. */
static void lose_unsynced(void) {
    struct change *again = NULL;
    while (unsynced != NULL) {
        struct change *change = unsynced;
        unsynced = change->earlier;
        if (status_of(change->fd).st_ino != change->file)
            continue;
        real_ftruncate(change->fd, change->length);
        real_pwrite(change->fd, change->before, change->count_before, change->at);
        change->earlier = again;
        again = change;
    }
    for (; again != NULL; again = again->earlier) {
        uint64_t fate = dice() % 3;
        size_t count = fate == 0 ? again->count : fate == 1 ? again->count / 2 : 0;
        if (again->count == 0 && fate == 0)
            real_ftruncate(again->fd, again->length_after);
        if (count > 0)
            real_pwrite(again->fd, again->after, count, again->at);
    }
}

/* Counts a call; whether it fails. */
static int fails(void) {
    if (is_bad)
        return 1;
    if (++calls != atol(getenv("BAD_DISK_CALL")))
        return 0;
    is_bad = 1;
    lose_unsynced();
    if (strcmp(getenv("BAD_DISK_FAULT"), "power") == 0)
        kill(getpid(), SIGKILL);
    return 1;
}

static int refused(void) {
    pthread_mutex_unlock(&lock);
    errno = EIO;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    if (!is_ours(fd))
        return real_pwrite(fd, bytes, count, at);
    pthread_mutex_lock(&lock);
    if (is_bad)
        return refused();
    note(fd, at, bytes, count, at + (off_t)count);
    if (fails())
        return refused();
    ssize_t written = real_pwrite(fd, bytes, count, at);
    pthread_mutex_unlock(&lock);
    return written;
}

int ftruncate64(int fd, off_t length) {
    if (!is_ours(fd))
        return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    if (is_bad)
        return refused();
    note(fd, length, NULL, 0, length);
    if (fails())
        return refused();
    int done = real_ftruncate(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

static int synced(int fd, int (*sync)(int)) {
    if (!is_ours(fd))
        return sync(fd);
    pthread_mutex_lock(&lock);
    if (fails())
        return refused();
    int done = sync(fd);
    if (done == 0)
        forget(fd);
    pthread_mutex_unlock(&lock);
    return done;
}

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int fsync(int fd) { return synced(fd, real_fsync); }
