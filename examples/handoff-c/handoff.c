/* Serves connections that cloister-door hands off: for each, the bytes that the client sent
 * first, in hexadecimal, and who it is. One process, one connection after the other.
 *
 *     cc -Wall -Wextra -Werror -o handoff handoff.c && ./handoff PATH
 *
 * The protocol is docs/handoff.md. A real server does TLS where this one reads. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_LIMIT 4096 /* no message is longer */
#define MOST 16            /* no message brings more connections */
#define FIXED 16           /* signature, command, transport, length */

static const unsigned char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

struct handoff {
    char server_name[256];
    char client[INET6_ADDRSTRLEN + 8];
};

/* The address that a PROXY header named, as text; empty where none was. */
static int read_address(const unsigned char *block, size_t length, struct handoff *said)
{
    char address[INET6_ADDRSTRLEN];
    int family = length == 12 ? AF_INET : AF_INET6;
    size_t port = length == 12 ? 8 : 32;

    if (length != 12 && length != 36)
        return 0;
    if (!inet_ntop(family, block, address, sizeof address))
        return -1;
    snprintf(said->client, sizeof said->client, "%s %u", address,
             (unsigned)block[port] << 8 | block[port + 1]);
    return 0;
}

/* What the header of one connection says, with which the message begins; its length, -1 for
 * one that is not of this protocol. */
static ssize_t parse(const unsigned char *message, size_t rest, struct handoff *said)
{
    size_t addresses, position, length;

    memset(said, 0, sizeof *said);
    if (rest < FIXED || memcmp(message, signature, sizeof signature) != 0)
        return -1;
    if (message[12] != 0x21 && message[12] != 0x20)
        return -1;
    length = FIXED + ((size_t)message[14] << 8 | message[15]);
    if (length > rest)
        return -1;
    switch (message[13]) {
    case 0x00: addresses = 0; break;
    case 0x11: case 0x12: addresses = 12; break;
    case 0x21: case 0x22: addresses = 36; break;
    case 0x31: case 0x32: addresses = 216; break;
    default: return -1;
    }
    if (length < FIXED + addresses || read_address(message + FIXED, addresses, said) < 0)
        return -1;
    for (position = FIXED + addresses; position < length;) {
        size_t size;

        if (length - position < 3)
            return -1;
        size = (size_t)message[position + 1] << 8 | message[position + 2];
        if (length - position - 3 < size)
            return -1;
        if (message[position] == 0x02) { /* the server name */
            if (size >= sizeof said->server_name)
                return -1;
            memcpy(said->server_name, message + position + 3, size);
            said->server_name[size] = '\0';
        }
        position += 3 + size;
    }
    return (ssize_t)length;
}

/* Whether the message has one header for each of `count` connections and nothing else. */
static int parse_all(const unsigned char *message, size_t length, struct handoff *said, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        ssize_t size = parse(message, length, &said[index]);

        if (size < 0)
            return 0;
        message += size;
        length -= (size_t)size;
    }
    return length == 0;
}

/* The clients' connections, which are the caller's to close; how many. */
static size_t receive(int control, int clients[MOST], struct handoff said[MOST])
{
    unsigned char message[MESSAGE_LIMIT];
    union {
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
        struct cmsghdr aligned;
    } space;
    struct iovec vector = { message, sizeof message };
    struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1,
                             .msg_control = space.bytes, .msg_controllen = sizeof space.bytes };
    struct cmsghdr *part;
    ssize_t length;
    size_t count = 0;

    do
        length = recvmsg(control, &header, MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length <= 0) /* it looked whether somebody accepts */
        return 0;
    part = CMSG_FIRSTHDR(&header);
    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(clients, CMSG_DATA(part), count * sizeof(int));
    }
    if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
        || !parse_all(message, (size_t)length, said, count)) {
        while (count > 0)
            close(clients[--count]);
    }
    return count;
}

static void serve(int client, struct handoff *said)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    unsigned char first[16];
    ssize_t count, index;

    /* It comes non-blocking. */
    fcntl(client, F_SETFL, fcntl(client, F_GETFL) & ~O_NONBLOCK);
    if (!said->client[0] && getpeername(client, (struct sockaddr *)&address, &size) == 0) {
        char text[INET6_ADDRSTRLEN];

        if (address.ss_family == AF_INET) {
            struct sockaddr_in *ipv4 = (struct sockaddr_in *)&address;

            snprintf(said->client, sizeof said->client, "%s %u",
                     inet_ntop(AF_INET, &ipv4->sin_addr, text, sizeof text),
                     ntohs(ipv4->sin_port));
        } else if (address.ss_family == AF_INET6) {
            struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&address;

            snprintf(said->client, sizeof said->client, "%s %u",
                     inet_ntop(AF_INET6, &ipv6->sin6_addr, text, sizeof text),
                     ntohs(ipv6->sin6_port));
        }
    }
    count = recv(client, first, sizeof first, MSG_WAITALL);
    dprintf(client, "%s %s ", said->server_name, said->client);
    for (index = 0; index < count; index++)
        dprintf(client, "%02x", first[index]);
    dprintf(client, "\n");
    /* Closing with unread bytes would reset the connection. */
    shutdown(client, SHUT_WR);
    while (recv(client, first, sizeof first, 0) > 0)
        ;
}

int main(int count, char **arguments)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (count != 2 || strlen(arguments[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: %s PATH\n", arguments[0]);
        return 2;
    }
    strcpy(address.sun_path, arguments[1]);
    unlink(arguments[1]);
    /* The door's user must be able to write to it: the folder keeps everybody else out. */
    umask(0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) < 0
        || listen(listening, SOMAXCONN) < 0) {
        perror(arguments[1]);
        return 1;
    }
    for (;;) {
        struct handoff said[MOST];
        int clients[MOST], control = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        size_t count;

        if (control < 0)
            continue;
        count = receive(control, clients, said);
        close(control);
        for (size_t index = 0; index < count; index++) {
            serve(clients[index], &said[index]);
            close(clients[index]);
        }
    }
}
