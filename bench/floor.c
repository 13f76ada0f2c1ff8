/* The least that reading everything costs: walk the hierarchies, read every file of every cgroup
 * and every namespace link of every process. No parsing, no output.
 *
 * floor stateless|kept PROC ROOT FILE... [-- ROOT FILE...]...
 *   The first ROOT is walked; the cgroups of the others are those at the same paths.
 *   kept: descriptors of directories and files stay open from the first pass on, as many as
 *   RLIMIT_NOFILE grants; the others are opened, read and closed.
 * Each line of standard input makes one pass, answered by its CPU time in microseconds, the
 * cgroups, the files read, those of them kept open, the processes. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 64 };
struct hierarchy { int fd; int files; char *file[MOST]; };
struct cgroup { int fd[4]; int file[4][MOST]; int children; struct cgroup *child; char *name; };

static struct hierarchy hierarchy[4];
static int hierarchies, keep, reserve;
static long cgroups, reads, kept, processes;
static char text[1 << 20];
static const char *links[] = { "mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time",
                               "pid_for_children", "time_for_children" };

static void drain(int fd)
{
    reads++;
    if (pread(fd, text, sizeof text, 0) < 0)
        reads--;
}

static void file(int dir, const char *name, int *slot)
{
    if (slot && *slot > 0) {
        drain(*slot);
        kept++;
        return;
    }
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    drain(fd);
    if (slot && fd < reserve)
        *slot = fd;
    else
        close(fd);
}

static void read_files(const int *dirs, int (*slots)[MOST])
{
    cgroups++;
    for (int h = 0; h < hierarchies; h++)
        for (int i = 0; dirs[h] >= 0 && i < hierarchy[h].files; i++)
            file(dirs[h], hierarchy[h].file[i], slots ? &slots[h][i] : NULL);
}

static void walk(const int *dirs)
{
    read_files(dirs, NULL);
    DIR *listing = fdopendir(openat(dirs[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (struct dirent *entry; listing && (entry = readdir(listing)); ) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        int below[4] = { -1, -1, -1, -1 };
        for (int h = 0; h < hierarchies; h++)
            below[h] = dirs[h] < 0 ? -1
                : openat(dirs[h], entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (below[0] >= 0)
            walk(below);
        for (int h = 0; h < hierarchies; h++)
            if (below[h] >= 0)
                close(below[h]);
    }
    if (listing)
        closedir(listing);
}

static void learn(struct cgroup *node)
{
    DIR *listing = fdopendir(openat(node->fd[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (struct dirent *entry; listing && (entry = readdir(listing)); ) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        node->child = realloc(node->child, (node->children + 1) * sizeof *node);
        struct cgroup *child = memset(&node->child[node->children], 0, sizeof *node);
        for (int h = 0; h < hierarchies; h++)
            child->fd[h] = node->fd[h] < 0 ? -1
                : openat(node->fd[h], entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (child->fd[0] >= 0)
            node->children++;
    }
    if (listing)
        closedir(listing);
    for (int i = 0; i < node->children; i++)
        learn(&node->child[i]);
}

static void again(struct cgroup *node)
{
    struct stat told; /* its link count tells whether children came or went */
    fstat(node->fd[0], &told);
    read_files(node->fd, node->file);
    for (int i = 0; i < node->children; i++)
        again(&node->child[i]);
}

static void scan(const char *proc)
{
    DIR *listing = opendir(proc);
    for (struct dirent *entry; listing && (entry = readdir(listing)); ) {
        if (!isdigit(entry->d_name[0]))
            continue;
        char path[300];
        snprintf(path, sizeof path, "%s/ns", entry->d_name);
        int fd = openat(dirfd(listing), path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            continue;
        processes++;
        for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
            if (readlinkat(fd, links[i], text, sizeof text) < 0)
                break;
        close(fd);
    }
    closedir(listing);
}

static long microseconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L
        + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    static struct cgroup root;
    char line[64];
    int dirs[4];
    if (argc < 5)
        errx(2, "floor stateless|kept PROC ROOT FILE... [-- ROOT FILE...]...");
    keep = !strcmp(argv[1], "kept");
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    reserve = limit.rlim_cur - 1000;
    for (int i = 3; i < argc; i++) {
        struct hierarchy *one = &hierarchy[hierarchies++];
        one->fd = dirs[hierarchies - 1] = root.fd[hierarchies - 1]
            = open(argv[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (i++; i < argc && strcmp(argv[i], "--"); i++)
            one->file[one->files++] = argv[i];
    }
    while (fgets(line, sizeof line, stdin)) {
        cgroups = reads = kept = processes = 0;
        long before = microseconds();
        if (keep && !root.children)
            learn(&root);
        if (keep)
            again(&root);
        else
            walk(dirs);
        scan(argv[2]);
        printf("%ld %ld %ld %ld %ld\n", microseconds() - before, cgroups, reads, kept, processes);
        fflush(stdout);
    }
    return 0;
}
