/* The program of every container in the integration tests: it uses no GPU and almost no CPU.
 *
 * As `vllm` it answers every HTTP request on port 8000 with 200, so that a server becomes Ready. As a stage it waits for
 * SIGTERM. `generate` then succeeds: its Job completes when somebody deletes the pod. Other stages fail. As an init
 * container (`python -I`) it succeeds at once. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

static int code = 128 + SIGTERM;

static void end(int signal_number) {
    (void)signal_number;
    _exit(code);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "-I") == 0) return 0;
    signal(SIGTERM, end); /* process 1 has no default action */
    signal(SIGPIPE, SIG_IGN);
    if (count > 1 && strcmp(arguments[count - 1], "generate") == 0) code = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8000)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) return 1;
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    char request[4096];
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        if (read(connection, request, sizeof request) > 0 && write(connection, reply, sizeof reply - 1) < 0) {}
        close(connection);
    }
}
