/* A disk that can fail, and a journal of all that was asked of it.

   Loaded into every process of the platform (LD_PRELOAD). Each change of a file or folder below CHAOS_ROOT is written to
   the journal CHAOS_JOURNAL, with its bytes; each fsync twice: when it begins and when it has succeeded. What a power
   cut leaves is computed from the journal (surviving.py). CHAOS_CONTROL is a file of switches that the harness throws
   while the processes run (disk.py).

   A change is written down right after it was made, an fsync's beginning before: a change that another thread makes at
   the same moment counts as not synced. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct switches { int32_t sync_fails, full, wal_not_synced; };
struct record { char what; char name_length[2]; char rest; uint32_t length; int64_t inode, position, token; };

static struct switches none, *switches = &none;
static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;
static int64_t tokens;

/* The calls themselves, not the library's functions: those are looked up too late for what others do as they load. */
#define REAL(name, ...) syscall(SYS_##name, __VA_ARGS__)

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("CHAOS_ROOT"), *to = getenv("CHAOS_JOURNAL"), *control = getenv("CHAOS_CONTROL");
    if (!where || !to || !control || !realpath(where, root)) return;
    int file = REAL(openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
    void *shared = (void *)REAL(mmap, NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    journal = REAL(openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || shared == MAP_FAILED || journal < 0) {
        static const char message[] = "the failing disk cannot open its journal or its switches\n";
        REAL(write, 2, message, sizeof message - 1);
        _exit(97);
    }
    close(file);
    switches = shared;
    root_length = strlen(root);
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

/* The path of an open file below the root; 0 for others, and for SQLite's shared memory, which outlives no process. */
static int path_of(int file, char path[PATH_MAX]) {
    char link[40];
    if (journal < 0 || file < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int saved = errno;
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    errno = saved;
    if (length < (ssize_t)root_length) return 0;
    path[length] = 0;
    return !strncmp(path, root, root_length) && (!path[root_length] || path[root_length] == '/')
        && !ends_with(path, "-shm");
}

/* The whole path of a name that may be relative, whether it exists or not; 0 if it is not below the root. */
static int path_at(int folder, const char *name, char path[PATH_MAX]) {
    if (journal < 0) return 0;
    char above[PATH_MAX], resolved[PATH_MAX], link[40];
    int saved = errno;
    if (name[0] == '/') above[0] = 0;
    else if (folder == AT_FDCWD) { if (!getcwd(above, sizeof above)) above[0] = 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, above, sizeof above - 1);
        above[length < 0 ? 0 : length] = 0;
    }
    char whole[2 * PATH_MAX];
    snprintf(whole, sizeof whole, "%s%s%s", above, above[0] ? "/" : "", name);
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/') whole[--length] = 0;
    char *last = strrchr(whole, '/');
    int found = 0;
    if (last) {
        *last = 0;
        if (realpath(whole[0] ? whole : "/", resolved)) {
            size_t above_length = strcmp(resolved, "/") ? strlen(resolved) : 0, name_length = strlen(last + 1);
            if (above_length + name_length + 2 > PATH_MAX) return 0;
            memcpy(path, resolved, above_length);
            path[above_length] = '/';
            memcpy(path + above_length + 1, last + 1, name_length + 1);
            found = !strncmp(path, root, root_length) && (!path[root_length] || path[root_length] == '/')
                && !ends_with(path, "-shm");
        }
    }
    errno = saved;
    return found;
}

static void note(char what, int64_t inode, const char *name, int64_t position, int64_t token, const void *bytes,
                 size_t length) {
    size_t letters = strlen(name);
    struct record head = {what, {(char)(letters & 255), (char)(letters >> 8)}, 0, (uint32_t)length, inode, position, token};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, letters}, {(void *)bytes, length}};
    int saved = errno;
    if (syscall(SYS_writev, journal, parts, 3) != (ssize_t)(sizeof head + letters + length)) {
        static const char message[] = "the failing disk cannot write its journal\n";
        REAL(write, 2, message, sizeof message - 1);
        _exit(97);
    }
    errno = saved;
}

static int64_t inode_of(int file) {
    struct stat found;
    return fstat(file, &found) ? 0 : (int64_t)found.st_ino;
}

static int no_room(int file, off_t end) {
    struct stat found;
    if (!switches->full || fstat(file, &found) || end <= found.st_size) return 0;
    errno = ENOSPC;
    return 1;
}

static int no_room_for(const char *path) {
    struct stat found;
    if (!switches->full || !lstat(path, &found)) return 0;
    errno = ENOSPC;
    return 1;
}

int openat(int folder, const char *name, int flags, ...) {
    mode_t mode = 0;
    char path[PATH_MAX];
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    int changes = flags & (O_CREAT | O_TRUNC) && path_at(folder, name, path);
    if (changes && flags & O_CREAT && no_room_for(path)) return -1;
    int file = REAL(openat, folder, name, flags, mode);
    if (changes && file >= 0) note('O', inode_of(file), path, flags & O_TRUNC ? 1 : 0, 0, NULL, 0);
    return file;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        return openat(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
int openat64(int folder, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
    return openat(folder, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int __open_2(const char *path, int flags) { return openat(AT_FDCWD, path, flags); }
int __open64_2(const char *path, int flags) { return openat(AT_FDCWD, path, flags); }

ssize_t pwrite(int file, const void *bytes, size_t length, off_t position) {
    char path[PATH_MAX];
    if (!path_of(file, path)) return REAL(pwrite64, file, bytes, length, position);
    if (no_room(file, position + (off_t)length)) return -1;
    ssize_t done = REAL(pwrite64, file, bytes, length, position);
    if (done > 0) note('W', inode_of(file), path, position, 0, bytes, done);
    return done;
}
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t position) {
    return pwrite(file, bytes, length, position);
}

ssize_t write(int file, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (!path_of(file, path)) return REAL(write, file, bytes, length);
    struct stat found;
    off_t position = fcntl(file, F_GETFL) & O_APPEND && !fstat(file, &found) ? found.st_size : lseek(file, 0, SEEK_CUR);
    if (no_room(file, position + (off_t)length)) return -1;
    ssize_t done = REAL(write, file, bytes, length);
    if (done > 0) note('W', inode_of(file), path, lseek(file, 0, SEEK_CUR) - done, 0, bytes, done);
    return done;
}

/* The first part only: a short write is allowed. */
ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!path_of(file, path)) return REAL(writev, file, parts, count);
    while (count > 1 && !parts->iov_len) parts++, count--;
    return count > 0 ? write(file, parts->iov_base, parts->iov_len) : 0;
}

/* Ways of writing that nothing here is known to use: the journal says so, and the harness fails. */
static void note_unknown(int file) {
    char path[PATH_MAX];
    if (path_of(file, path)) note('?', inode_of(file), path, 0, 0, NULL, 0);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t position) {
    note_unknown(file);
    return REAL(pwritev, file, parts, count, position, 0);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t position) {
    return pwritev(file, parts, count, position);
}
ssize_t sendfile(int to, int from, off_t *position, size_t length) {
    note_unknown(to);
    return REAL(sendfile, to, from, position, length);
}
ssize_t sendfile64(int to, int from, off64_t *position, size_t length) { return sendfile(to, from, position, length); }
ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *position, size_t length, unsigned flags) {
    note_unknown(to);
    return REAL(copy_file_range, from, start, to, position, length, flags);
}

int ftruncate(int file, off_t length) {
    char path[PATH_MAX];
    int done = REAL(ftruncate, file, length);
    if (!done && path_of(file, path)) note('T', inode_of(file), path, length, 0, NULL, 0);
    return done;
}
int ftruncate64(int file, off64_t length) { return ftruncate(file, length); }

int fallocate(int file, int mode, off_t position, off_t length) {
    char path[PATH_MAX];
    if (path_of(file, path)) { errno = switches->full ? ENOSPC : EOPNOTSUPP; return -1; }
    return REAL(fallocate, file, mode, position, length);
}
int fallocate64(int file, int mode, off64_t position, off64_t length) { return fallocate(file, mode, position, length); }

int renameat2(int folder, const char *name, int to_folder, const char *to, unsigned flags) {
    char from_path[PATH_MAX], to_path[PATH_MAX];
    int from_here = path_at(folder, name, from_path), to_here = path_at(to_folder, to, to_path);
    int done = REAL(renameat2, folder, name, to_folder, to, flags);
    if (!done && (from_here || to_here)) {
        int known = from_here && to_here && !flags;
        note(known ? 'R' : '?', 0, from_path, 0, 0, to_path, known ? strlen(to_path) : 0);
    }
    return done;
}
int renameat(int folder, const char *name, int to_folder, const char *to) {
    return renameat2(folder, name, to_folder, to, 0);
}
int rename(const char *name, const char *to) { return renameat2(AT_FDCWD, name, AT_FDCWD, to, 0); }

/* Noted before: as soon as the name is gone, another file may get the number of its inode. */
int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    struct stat found;
    if (path_at(folder, name, path) && !lstat(path, &found)) note('U', 0, path, 0, 0, NULL, 0);
    return REAL(unlinkat, folder, name, flags);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    struct stat found;
    return unlinkat(AT_FDCWD, name, !lstat(name, &found) && S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0);
}

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int here = path_at(folder, name, path);
    if (here && no_room_for(path)) return -1;
    int done = REAL(mkdirat, folder, name, mode);
    if (!done && here) note('M', 0, path, 0, 0, NULL, 0);
    return done;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int linkat(int folder, const char *name, int to_folder, const char *to, int flags) {
    char from_path[PATH_MAX], to_path[PATH_MAX];
    int from_here = path_at(folder, name, from_path), to_here = path_at(to_folder, to, to_path);
    if (to_here && no_room_for(to_path)) return -1;
    int done = REAL(linkat, folder, name, to_folder, to, flags);
    if (!done && to_here) note(from_here ? 'L' : '?', 0, from_here ? from_path : to_path, 0, 0, to_path, strlen(to_path));
    return done;
}
int link(const char *name, const char *to) { return linkat(AT_FDCWD, name, AT_FDCWD, to, 0); }

static int sync_with(long call, int file) {
    char path[PATH_MAX];
    if (!path_of(file, path)) return (int)syscall(call, file);
    int64_t inode = inode_of(file);
    int64_t token = (int64_t)getpid() << 32 | (uint32_t)__sync_add_and_fetch(&tokens, 1);
    if (switches->sync_fails) {
        note('E', inode, path, 0, token, NULL, 0);
        errno = EIO;
        return -1;
    }
    if (switches->wal_not_synced && ends_with(path, "-wal")) return 0;
    note('B', inode, path, 0, token, NULL, 0);
    int done = (int)syscall(call, file);
    if (!done) note('S', inode, path, 0, token, NULL, 0);
    return done;
}
int fsync(int file) { return sync_with(SYS_fsync, file); }
int fdatasync(int file) { return sync_with(SYS_fdatasync, file); }

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t position) {
    if (file >= 0 && flags & MAP_SHARED && protection & PROT_WRITE) note_unknown(file);
    return (void *)REAL(mmap, address, length, protection, flags, file, position);
}
void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t position) {
    return mmap(address, length, protection, flags, file, position);
}
