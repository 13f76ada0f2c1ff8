/* Processes that cost nothing but being there, each in its cgroups, some in namespaces of their
 * own, some that change their memory when told.
 *
 * Standard input, a line each:
 *   process BUSY NAMESPACES CGROUP...   fork one into these cgroups (paths of directories)
 *   guest NAMESPACES CGROUP...          the same, not busy, for a while
 *   touch                               every busy one maps memory, or gives it back
 *   leave                               every guest ends, and is gone when this is answered
 * Each line is answered by one line, "ok". At the end of input all end. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOUCHED = 160 * 4096 }; /* more than the 64 pages that a CPU charges ahead */

static void child(int busy, int namespaces, char *cgroups, int answers)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (char *path = strtok(cgroups, " \n"); path; path = strtok(NULL, " \n")) {
        char file[4096];
        snprintf(file, sizeof file, "%s/cgroup.procs", path);
        int fd = open(file, O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1)
            err(1, "%s", file);
        close(fd);
    }
    if (namespaces && unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS))
        err(1, "unshare");
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    sigprocmask(SIG_BLOCK, &told, NULL);
    char *memory = busy ? mmap(NULL, TOUCHED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0) : NULL;
    for (int number, full = 0;; full = !full) {
        if (write(answers, "", 1) != 1)
            _exit(0);
        while (sigwait(&told, &number) || !busy)
            ;
        if (full)
            madvise(memory, TOUCHED, MADV_DONTNEED);
        else
            memset(memory, full + 1, TOUCHED);
    }
}

int main(void)
{
    static pid_t busy[1 << 20], guests[1 << 16];
    int count = 0, staying = 0, answers[2];
    static char line[16384];
    char byte;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe2(answers, O_CLOEXEC))
        err(1, "pipe");
    while (fgets(line, sizeof line, stdin)) {
        int is_busy = 0, namespaces, used;
        int guest = sscanf(line, "guest %d %n", &namespaces, &used) == 1;
        if (guest || sscanf(line, "process %d %d %n", &is_busy, &namespaces, &used) == 2) {
            pid_t pid = fork();
            if (pid < 0)
                err(1, "fork");
            if (pid == 0) {
                close(0);
                child(is_busy, namespaces, line + used, answers[1]);
            }
            if (guest)
                guests[staying++] = pid;
            if (is_busy)
                busy[count++] = pid;
            if (read(answers[0], &byte, 1) != 1)
                err(1, "read");
        } else if (!strcmp(line, "leave\n")) {
            for (int i = 0; i < staying; i++)
                kill(guests[i], SIGKILL);
            for (; staying; staying--)
                waitpid(guests[staying - 1], NULL, 0);
        } else {
            for (int i = 0; i < count; i++)
                kill(busy[i], SIGUSR1);
            for (int i = 0; i < count; i++)
                if (read(answers[0], &byte, 1) != 1)
                    err(1, "read");
        }
        puts("ok");
    }
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
