/* Attempts to get out of a cell: escape ATTEMPT...
 *
 * Each word names an attempt, with its arguments behind it: NAME[=ARGUMENT]. For each one line
 * is printed: the word, a tabulator, and "reached", "denied" with the error's name, or "killed"
 * with the signal's number. Every attempt runs in a process of its own, so that what one
 * reaches changes nothing for the next.
 *
 * What is reached must leave the machine as it was: the same program runs as root outside of
 * every cell. Statically linked, so that a cell needs to show nothing of the host for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/mempolicy.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#define CALL(number, ...) syscall(number, ##__VA_ARGS__)
#define ATTEMPT(name) static long name(char *argument __attribute__((unused)))

/* A child that waits, and what it has in its memory. */
static volatile long secret = 42;
static pid_t child(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent)
            poll(NULL, 0, 1000);
        _exit(0);
    }
    return pid;
}

/* Past the check of permission, whatever the kernel says then of a call that is about nothing:
 * for calls that would change the machine. */
static long past(long result)
{
    return result < 0 && errno != EPERM && errno != EACCES && errno != ENOSYS ? 0 : result;
}

static int in_user_namespace(int more)
{
    return unshare(CLONE_NEWUSER | more);
}

/* -- system calls -------------------------------------------------------------------------- */

ATTEMPT(keyctl_session) { return CALL(SYS_keyctl, 0, -3, 0); }
ATTEMPT(keyctl_join) { return CALL(SYS_keyctl, 1, "other"); }
ATTEMPT(add_key) { return CALL(SYS_add_key, "user", "escape", "x", 1, -2); }
ATTEMPT(request_key) { return past(CALL(SYS_request_key, "user", "none-such", NULL, 0)); }
/* A key that the launcher's session has: found by the name given. */
ATTEMPT(launchers_key) { return CALL(SYS_keyctl, 10, -3, "user", argument, 0); }
ATTEMPT(bpf_map)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return CALL(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
}
ATTEMPT(bpf_program)
{
    struct bpf_insn code[] = {{.code = 0xb7}, {.code = 0x95}};
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insn_cnt = 2;
    attr.insns = (uintptr_t)code;
    attr.license = (uintptr_t) "GPL";
    return CALL(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}
ATTEMPT(perf_event)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_SW_TASK_CLOCK,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1};
    return CALL(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}
ATTEMPT(userfault) { return CALL(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */); }
ATTEMPT(io_uring)
{
    char parameters[256] = {0};
    return CALL(SYS_io_uring_setup, 8, parameters);
}
ATTEMPT(trace_me) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }
ATTEMPT(trace_child) { return ptrace(PTRACE_SEIZE, child(), 0, 0); }
ATTEMPT(read_child)
{
    long copy;
    struct iovec here = {&copy, sizeof copy}, there = {(void *)&secret, sizeof secret};
    return process_vm_readv(child(), &here, 1, &there, 1, 0);
}
ATTEMPT(write_child)
{
    long copy = 0;
    struct iovec here = {&copy, sizeof copy}, there = {(void *)&secret, sizeof secret};
    return process_vm_writev(child(), &here, 1, &there, 1, 0);
}
ATTEMPT(take_descriptor)
{
    int pid = CALL(SYS_pidfd_open, child(), 0);
    return CALL(438, pid, 1, 0);
}
ATTEMPT(compare) { return CALL(SYS_kcmp, getpid(), child(), 0, 0, 0); }
ATTEMPT(advise_child)
{
    int pid = CALL(SYS_pidfd_open, getpid(), 0);
    static char page[8192] __attribute__((aligned(4096)));
    struct iovec range = {page, 4096};
    return CALL(440, pid, &range, 1, MADV_COLD, 0);
}
ATTEMPT(unshare_user) { return in_user_namespace(0); }
ATTEMPT(unshare_mounts) { return in_user_namespace(CLONE_NEWNS); }
ATTEMPT(unshare_network) { return in_user_namespace(CLONE_NEWNET); }
ATTEMPT(unshare_pids) { return in_user_namespace(CLONE_NEWPID); }
ATTEMPT(unshare_time) { return in_user_namespace(CLONE_NEWTIME); }
ATTEMPT(unshare_cgroups) { return in_user_namespace(CLONE_NEWCGROUP); }
ATTEMPT(clone_user)
{
    long pid = CALL(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid;
}
ATTEMPT(clone3_user)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = CALL(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    return pid;
}
ATTEMPT(enter_namespace) { return setns(open("/proc/self/ns/uts", O_RDONLY), 0); }
ATTEMPT(no_randomization) { return personality(ADDR_NO_RANDOMIZE); }
ATTEMPT(executable_reads) { return personality(READ_IMPLIES_EXEC); }
struct handle {
    struct file_handle head;
    unsigned char rest[128];
};
ATTEMPT(name_to_handle)
{
    struct handle handle = {.head.handle_bytes = 128};
    int mount;
    return name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount, 0);
}
ATTEMPT(open_by_handle)
{
    struct handle handle = {.head.handle_bytes = 128};
    int mount;
    if (name_to_handle_at(AT_FDCWD, argument, &handle.head, &mount, 0) < 0)
        return -1;
    int folder = open(argument, O_RDONLY | O_DIRECTORY);
    return open_by_handle_at(folder, &handle.head, O_RDONLY);
}
ATTEMPT(quota) { return CALL(SYS_quotactl, 0x800001 << 8, NULL, 0, NULL); }
ATTEMPT(kernel_log)
{
    char buffer[64];
    return CALL(SYS_syslog, 3, buffer, sizeof buffer);
}
ATTEMPT(fanotify_own) { return fanotify_init(FAN_CLASS_NOTIF | 0x200, O_RDONLY); }
ATTEMPT(fanotify_permission) { return fanotify_init(FAN_CLASS_CONTENT, O_RDONLY); }
ATTEMPT(memory_policy) { return CALL(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0); }
ATTEMPT(move_pages)
{
    int status;
    void *page = (void *)&secret;
    return CALL(SYS_move_pages, 0, 1, &page, NULL, &status, 0);
}
ATTEMPT(gift_pages)
{
    int ends[2];
    char data[8] = "x";
    struct iovec range = {data, sizeof data};
    return pipe(ends) < 0 ? -1 : vmsplice(ends[1], &range, 1, 0);
}
ATTEMPT(secret_memory) { return CALL(447, 0); }
ATTEMPT(list_mounts)
{
    uint64_t request[4] = {32, UINT64_MAX, 0, 0}, found[8];
    ((uint32_t *)request)[0] = 24;
    ((uint32_t *)request)[1] = 0;
    return CALL(458, request, found, 8, 0);
}
ATTEMPT(accounting) { return CALL(SYS_acct, NULL); }
ATTEMPT(swap_off) { return past(swapoff("/dev/null")); }
ATTEMPT(swap_on) { return past(swapon("/dev/null", 0)); }
ATTEMPT(reboot_key) { return CALL(SYS_reboot, 0xfee1dead, 672274793, 0, NULL); }
ATTEMPT(host_name) { return sethostname("escaped", 7); }
ATTEMPT(domain_name) { return setdomainname("escaped", 7); }
ATTEMPT(time_zone)
{
    struct timezone zone = {0, 0};
    return CALL(SYS_settimeofday, NULL, &zone);
}
ATTEMPT(adjust_clock)
{
    struct timex change = {.modes = ADJ_STATUS};
    struct timex now = {0};
    if (CALL(SYS_adjtimex, &now) < 0)
        return -1;
    change.status = now.status & ~0xff00;
    return CALL(SYS_adjtimex, &change);
}
ATTEMPT(kexec) { return CALL(SYS_kexec_load, 0, 0, NULL, 0); }
ATTEMPT(load_module) { return past(CALL(SYS_finit_module, open("/dev/null", O_RDONLY), "", 0)); }
ATTEMPT(unload_module) { return past(CALL(SYS_delete_module, "none-such", O_NONBLOCK)); }
#ifdef __x86_64__
ATTEMPT(ports) { return CALL(SYS_ioperm, 0x80, 1, 1); }
ATTEMPT(port_level) { return CALL(SYS_iopl, 3); }
ATTEMPT(local_descriptors)
{
    char buffer[64];
    return CALL(SYS_modify_ldt, 0, buffer, sizeof buffer);
}
ATTEMPT(other_architecture)
{
    long result;
    /* getpid(2) by its number on i386. */
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    return result > 0 ? 0 : (errno = (int)-result, -1);
}
ATTEMPT(x32) { return CALL(0x40000000 + 39); }
#endif
ATTEMPT(type_into_terminal)
{
    int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    if (terminal < 0)
        return -1;
    int slave = ioctl(terminal, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY);
    int unlocked = 0;
    ioctl(terminal, TIOCSPTLCK, &unlocked);
    if (slave < 0)
        slave = ioctl(terminal, 0x5441, O_RDWR | O_NOCTTY);
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    return ioctl(slave, TIOCSTI, "x");
}
ATTEMPT(console_selection)
{
    char code[2] = {12, 0}; /* which console is in front */
    int console = open(argument, O_RDWR | O_NOCTTY);
    return console < 0 ? -1 : ioctl(console, TIOCLINUX, code);
}
ATTEMPT(launchers_terminal) { return open("/dev/tty", O_RDWR); }

/* -- mounts -------------------------------------------------------------------------------- */

ATTEMPT(mount_memory) { return mount("none", argument, "tmpfs", 0, NULL); }
ATTEMPT(mount_bind) { return mount(argument, argument, NULL, MS_BIND, NULL); }
ATTEMPT(mount_proc) { return mount("none", argument, "proc", 0, NULL); }
ATTEMPT(remount_writable)
{
    mount(argument, argument, NULL, MS_BIND, NULL);
    return mount(NULL, argument, NULL, MS_REMOUNT | MS_BIND, NULL);
}
ATTEMPT(unmount) { return umount2(argument, MNT_DETACH); }
ATTEMPT(change_root) { return chroot(argument); }
ATTEMPT(pivot)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 && errno != EPERM)
        return -1;
    mount("none", argument, "tmpfs", 0, NULL);
    return chdir(argument) < 0 ? -1 : CALL(SYS_pivot_root, ".", ".");
}
ATTEMPT(open_tree_clone) { return CALL(428, AT_FDCWD, argument, 1); }
ATTEMPT(new_file_system) { return CALL(430, "tmpfs", 0); }
ATTEMPT(pick_file_system) { return CALL(433, AT_FDCWD, "/", 0); }
ATTEMPT(move_mount_here)
{
    int tree = CALL(428, AT_FDCWD, argument, 1);
    return tree < 0 ? -1 : CALL(429, tree, "", AT_FDCWD, argument, 4);
}
ATTEMPT(mount_attributes)
{
    uint64_t attributes[4] = {0, 1, 0, 0}; /* clears "read-only" */
    mount(argument, argument, NULL, MS_BIND, NULL);
    return CALL(442, AT_FDCWD, argument, 0, attributes, sizeof attributes);
}

/* -- sockets ------------------------------------------------------------------------------- */

ATTEMPT(socket_of)
{
    int family, kind, protocol;
    if (sscanf(argument, "%d,%d,%d", &family, &kind, &protocol) != 3)
        return errno = EINVAL, -1;
    return socket(family, kind, protocol);
}
ATTEMPT(abstract_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path + 1, argument, 100);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, 3 + strlen(argument));
}
ATTEMPT(path_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argument, 100);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address);
}
ATTEMPT(loopback_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argument)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&address, sizeof address);
}
ATTEMPT(privileged_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(79)};
    return bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&address, sizeof address);
}
ATTEMPT(transparent)
{
    int one = 1;
    return setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_IP, 19, &one, sizeof one);
}
ATTEMPT(mark)
{
    int one = 1;
    return setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_MARK, &one, sizeof one);
}
ATTEMPT(interface_down)
{
    struct ifreq request = {.ifr_name = "lo"};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), 0x8914, &request);
}

/* -- processes ----------------------------------------------------------------------------- */

ATTEMPT(signal_to) { return kill(atoi(argument), 0); }
ATTEMPT(handle_of) { return CALL(SYS_pidfd_open, atoi(argument), 0); }
ATTEMPT(limits_of) { return prlimit(atoi(argument), RLIMIT_CORE, NULL, &(struct rlimit){0}); }
ATTEMPT(priority_of) { return setpriority(PRIO_PROCESS, atoi(argument), 19); }
ATTEMPT(affinity_of)
{
    cpu_set_t set;
    return sched_getaffinity(atoi(argument), sizeof set, &set);
}
ATTEMPT(trace_process) { return ptrace(PTRACE_SEIZE, atoi(argument), 0, 0); }
ATTEMPT(faster) { return setpriority(PRIO_PROCESS, 0, -5); }
ATTEMPT(real_time)
{
    struct sched_param parameters = {.sched_priority = 1};
    return sched_setscheduler(0, SCHED_FIFO, &parameters);
}
ATTEMPT(real_time_disk) { return CALL(SYS_ioprio_set, 1, 0, 1 << 13); }
ATTEMPT(inherited) { return fcntl(atoi(argument), F_GETFD); }

/* -- users --------------------------------------------------------------------------------- */

ATTEMPT(become_root) { return setuid(0); }
ATTEMPT(become_group) { return setgid(0); }
ATTEMPT(become_other) { return setresuid(12345, 12345, 12345); }
ATTEMPT(take_groups)
{
    gid_t group = 0;
    return setgroups(1, &group);
}
ATTEMPT(take_capability)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{.effective = 1 << CAP_SYS_ADMIN,
                                              .permitted = 1 << CAP_SYS_ADMIN}};
    return CALL(SYS_capset, &header, data);
}
ATTEMPT(secure_bits) { return prctl(PR_SET_SECUREBITS, 0, 0, 0, 0); }
/* Executes a set-user-id program that prints whether it is root. */
ATTEMPT(run_set_user_id)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl(argument, argument, "--am-i-root", NULL);
        _exit(2);
    }
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : (errno = EPERM, -1);
}
/* -- files and devices --------------------------------------------------------------------- */

ATTEMPT(read_file)
{
    char byte;
    int file = open(argument, O_RDONLY | O_NONBLOCK);
    return file < 0 ? -1 : read(file, &byte, 1) < 0 && errno != EAGAIN ? -1 : 0;
}
ATTEMPT(open_to_read) { return open(argument, O_RDONLY | O_NONBLOCK); }
/* Opened only: nothing is written. */
ATTEMPT(open_to_write) { return open(argument, O_WRONLY | O_NONBLOCK); }
ATTEMPT(list_folder) { return open(argument, O_RDONLY | O_DIRECTORY); }
ATTEMPT(follow_link)
{
    struct stat found;
    return stat(argument, &found);
}
ATTEMPT(make_file)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/escape-%d", argument, getpid());
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (file >= 0)
        unlink(path);
    return file;
}
ATTEMPT(run_file)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl(argument, argument, NULL);
        _exit(errno == EACCES ? 13 : 2);
    }
    waitpid(pid, &status, 0);
    return status == 0 ? 0 : (errno = WEXITSTATUS(status) == 13 ? EACCES : EPERM, -1);
}
static long make_device(char *folder, mode_t kind)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/device-%d", folder, getpid());
    long result = mknod(path, kind | 0600, 1 << 8 | 3);
    if (result == 0)
        unlink(path);
    return result;
}
ATTEMPT(character_device) { return make_device(argument, S_IFCHR); }
ATTEMPT(block_device) { return make_device(argument, S_IFBLK); }

/* -- what the host shares by a key or a name ------------------------------------------------ */

ATTEMPT(shared_memory) { return shmget(atoi(argument), 0, 0); }
ATTEMPT(semaphores) { return semget(atoi(argument), 0, 0); }
ATTEMPT(message_queue) { return msgget(atoi(argument), 0); }
ATTEMPT(posix_queue) { return mq_open(argument, O_RDONLY); }

/* ------------------------------------------------------------------------------------------ */

#define ENTRY(name) {#name, name}
static const struct {
    const char *name;
    long (*make)(char *);
} attempts[] = {
    ENTRY(keyctl_session), ENTRY(keyctl_join), ENTRY(add_key), ENTRY(request_key),
    ENTRY(launchers_key), ENTRY(bpf_map), ENTRY(bpf_program), ENTRY(perf_event),
    ENTRY(userfault), ENTRY(io_uring), ENTRY(trace_me), ENTRY(trace_child), ENTRY(read_child),
    ENTRY(write_child), ENTRY(take_descriptor), ENTRY(compare), ENTRY(advise_child),
    ENTRY(unshare_user), ENTRY(unshare_mounts), ENTRY(unshare_network), ENTRY(unshare_pids),
    ENTRY(unshare_time), ENTRY(unshare_cgroups), ENTRY(clone_user), ENTRY(clone3_user),
    ENTRY(enter_namespace), ENTRY(no_randomization), ENTRY(executable_reads),
    ENTRY(name_to_handle), ENTRY(open_by_handle), ENTRY(quota), ENTRY(kernel_log),
    ENTRY(fanotify_own), ENTRY(fanotify_permission), ENTRY(memory_policy), ENTRY(move_pages),
    ENTRY(gift_pages), ENTRY(secret_memory), ENTRY(list_mounts), ENTRY(accounting),
    ENTRY(swap_off), ENTRY(swap_on), ENTRY(reboot_key), ENTRY(host_name), ENTRY(domain_name),
    ENTRY(time_zone), ENTRY(adjust_clock), ENTRY(kexec), ENTRY(load_module),
    ENTRY(unload_module),
#ifdef __x86_64__
    ENTRY(ports), ENTRY(port_level), ENTRY(local_descriptors), ENTRY(other_architecture),
    ENTRY(x32),
#endif
    ENTRY(type_into_terminal), ENTRY(console_selection), ENTRY(launchers_terminal),
    ENTRY(mount_memory), ENTRY(mount_bind), ENTRY(mount_proc), ENTRY(remount_writable),
    ENTRY(unmount), ENTRY(change_root), ENTRY(pivot), ENTRY(open_tree_clone),
    ENTRY(new_file_system), ENTRY(pick_file_system), ENTRY(move_mount_here),
    ENTRY(mount_attributes), ENTRY(socket_of), ENTRY(abstract_socket), ENTRY(path_socket),
    ENTRY(loopback_port), ENTRY(privileged_port), ENTRY(transparent), ENTRY(mark),
    ENTRY(interface_down), ENTRY(signal_to), ENTRY(handle_of), ENTRY(limits_of),
    ENTRY(priority_of), ENTRY(affinity_of), ENTRY(trace_process), ENTRY(faster),
    ENTRY(real_time), ENTRY(real_time_disk), ENTRY(inherited), ENTRY(become_root),
    ENTRY(become_group), ENTRY(become_other), ENTRY(take_groups), ENTRY(take_capability),
    ENTRY(secure_bits), ENTRY(run_set_user_id), ENTRY(read_file),
    ENTRY(open_to_read), ENTRY(open_to_write), ENTRY(list_folder), ENTRY(follow_link),
    ENTRY(make_file), ENTRY(run_file), ENTRY(character_device), ENTRY(block_device),
    ENTRY(shared_memory), ENTRY(semaphores), ENTRY(message_queue), ENTRY(posix_queue),
};

static void run(char *word)
{
    char *argument = strchr(word, '=');
    size_t length = argument ? (size_t)(argument - word) : strlen(word);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        if (strlen(attempts[i].name) != length || strncmp(attempts[i].name, word, length))
            continue;
        int ends[2], error = 0, status;
        if (pipe(ends) < 0)
            exit(3);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(10);
            long result = attempts[i].make(argument ? argument + 1 : "");
            error = result < 0 ? errno : 0;
            _exit(write(ends[1], &error, sizeof error) != sizeof error);
        }
        close(ends[1]);
        ssize_t told = read(ends[0], &error, sizeof error);
        close(ends[0]);
        waitpid(pid, &status, 0);
        if (told != sizeof error)
            printf("%s\tkilled %d\n", word, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        else if (error)
            printf("%s\tdenied %s\n", word, strerrorname_np(error));
        else
            printf("%s\treached\n", word);
        fflush(stdout);
        return;
    }
    fprintf(stderr, "escape: there is no attempt %s\n", word);
    exit(2);
}

int main(int count, char **words)
{
    if (count == 2 && !strcmp(words[1], "--am-i-root"))
        return geteuid() != 0;
    if (count == 2 && !strcmp(words[1], "--list"))
        for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
            puts(attempts[i].name);
    else
        for (int i = 1; i < count; i++)
            run(words[i]);
    return 0;
}
