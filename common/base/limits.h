/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every cap of the system, by subject. What grows because of somebody else's bytes has its largest size here,
 * with the reason when the number is not arbitrary.
 */
#pragma once

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    /* json */
    LIMIT_JSON_DEPTH = 64, /* a pod template is about 15 deep */
    LIMIT_JSON_NUMBER = 63, /* bytes of one number: cJSON's own buffer */
    /* Values of one document, each about 80 bytes of memory. No object that etcd takes has more, and of a list smaller
     * pages are asked for. */
    LIMIT_JSON_NODES = 1024 * 1024,

    /* names: Kubernetes object names are DNS subdomains of at most 253 bytes, namespaces labels of 63 */
    LIMIT_NAME = 253,
    LIMIT_NAMESPACE = 63,
    LIMIT_UID = 36, /* RFC 4122 text */
    LIMIT_CONTAINER_ID = 64, /* hex digits of a CRI container id */
    LIMIT_CONTAINERS = 64, /* containers of one template */

    /* rpc. A connection carries one call of the kubelet, which opens a new one for each */
    LIMIT_RPC_CONNECTIONS = 512, /* publish calls that wait must leave room for what they wait for */
    LIMIT_RPC_STREAMS = 16, /* calls at once on one connection */
    LIMIT_RPC_METHODS = 16,
    LIMIT_GRPC_MESSAGE = 4000, /* encoded grpc-message: some clients take 8 KiB of headers in all */
    LIMIT_PB_ENTRIES = 1024, /* entries of one repeated field or map */

    /* csi: the specification's limit is 4 KiB a map; a list of LIMIT_CONTAINERS names alone takes that */
    LIMIT_CSI_ATTRIBUTES = 64,
    LIMIT_CSI_ATTRIBUTE = 8192, /* bytes of one key or value */
    LIMIT_CSI_CALLS = 1024, /* volumes with a call under way */

    /* agent. A node has at most some hundred pods; these leave room and still bound the memory */
    LIMIT_VOLUMES = 2048, /* published, or with a publish call waiting */
    LIMIT_PEERS_VOLUME = 64, /* connections on one agent.sock: one or two of each container, and probes ... */
    LIMIT_PEERS =
            16384, /* ... and on all: as many as LIMIT_PEERS_VOLUME of 256 pods, so none starves others */
    LIMIT_WAITING = 256, /* publish calls that wait; below LIMIT_RPC_CONNECTIONS */
    LIMIT_CHECKS_VOLUME = 8, /* of these, being looked up in the runtime at once; others wait their turn */
    LIMIT_IMAGE_VOLUMES = 1024, /* VOLUMEs of one image */

    /* check: rows of one kind, and directory entries looked at in all */
    LIMIT_CHECK_ROWS = 16384,
    LIMIT_CHECK_ENTRIES = 1048576,

    /* controller: StoppableContainers of a cluster that one controller looks after */
    LIMIT_KEYS = 100000,
    LIMIT_SPEC_VALUES = 16384, /* of one StoppableContainer's spec; a large pod has some hundred */
    LIMIT_POD_VALUES = 4 * LIMIT_SPEC_VALUES, /* of one pod's spec and status */

    /* mounts */
    LIMIT_MOUNTS = 4096, /* mounts read from one mountinfo */
    LIMIT_LAYERS = 200, /* of one image: its fds fit into one page of mount(2)'s options */
    LIMIT_MOUNT_STACK = 32, /* mounts detached from one place before giving up */
    LIMIT_PATH_LINKS = 40, /* links followed in one path; the kernel's own number */
    LIMIT_HOLDER_NAMESPACES = 2048, /* looked at for who has a root mounted */
    LIMIT_USAGE_DEPTH = 128, /* directories below each other that a root's use is counted in */
    LIMIT_USAGE_ENTRIES = 4 * 1024 * 1024, /* files and directories of one root that are counted */
    LIMIT_PATH_DEPTH = 512, /* components walked in one path, those of links included */
    LIMIT_ASIDES = 64, /* names tried for one thing moved aside, and things moved aside in one attach */
    /* Commands of a root that get a link for `kubectl exec`. Each is kernel memory of the agent's own cgroup:
     * all of a container, with their names, about as much as LIMIT_MOUNTS. */
    LIMIT_COMMANDS = 4096,
    LIMIT_COMMAND_ENTRIES = 32768, /* looked at to find them */
    LIMIT_PATH_DIRS = 32, /* directories of one PATH */
    LIMIT_WORKERS = 128, /* worker children alive on a node */
    LIMIT_WORKERS_POD = 8, /* of them on behalf of one pod */
    LIMIT_STUCK_WORKERS = 16, /* of them stuck in a tenant's file system */
    LIMIT_STUCK_WORKERS_POD = 2, /* stuck on behalf of one pod */
};

/* json, http */
#define LIMIT_API_OBJECT (3 * MIB) /* one that we write; the API server's own limit */
/* What it may answer: etcd's request limit is 1.5 MiB, and JSON takes six bytes for one ('<' as \u003c). */
#define LIMIT_API_ANSWER (12 * MIB)
#define LIMIT_API_PAGE (16 * MIB) /* one page of a list: more than the largest object */
#define LIMIT_WATCH_LINE LIMIT_API_ANSWER /* one watch event: an object and its envelope */
#define LIMIT_HTTP_HEADERS (64 * KIB)
#define LIMIT_KUBECONFIG (1 * MIB)
#define LIMIT_TOKEN (64 * KIB)

/* kube */
#define LIMIT_API_STATUS (64 * KIB) /* an error answer of the API server */
#define LIMIT_API_PATH (16 * KIB) /* path and query; a continue token is some hundred bytes */
#define LIMIT_LIST_RESTARTS 3 /* times that one list begins again after a 410 */
#define LIMIT_STORE_OBJECTS ((size_t)200000) /* the API is tested for 150,000 pods */
#define LIMIT_TOMBSTONES ((size_t)4096) /* uids of deleted objects remembered for some minutes */

/* grpc */
#define LIMIT_GRPC_REQUEST (4 * MIB) /* grpc-go's own default */
#define LIMIT_GRPC_REPLY (16 * MIB) /* containerd's default */

#define LIMIT_GRPC_HEADERS (16 * KIB) /* of one request, counted as HTTP/2 does */
#define LIMIT_CRI_INFO (4 * MIB) /* the runtime's verbose document; a spec with all of seccomp: 40 KiB */
#define LIMIT_CRI_MOUNTS (256 * KIB) /* paths of one container's mounts, kept while its processes wait */
#define LIMIT_IMAGE_COMMAND \
    (128 * KIB) /* ENTRYPOINT, CMD, VOLUMEs, each; more fits into no reply and no execve */
#define LIMIT_GRPC_BUFFERED (8 * MIB) /* requests being received, all connections of a server together */

/* node files */
#define LIMIT_MOUNTINFO (8 * MIB)
#define LIMIT_HOLDER_TEXT (32 * MIB) /* tables of mounts read for that */
#define LIMIT_PATH_TEXT (8 * KIB) /* one path with the text of the links in it */
#define LIMIT_WORKER_NOTES (64 * KIB) /* what a worker child says besides its result */
#define LIMIT_COMMAND_NAMES (256 * KIB) /* bytes of the names of LIMIT_COMMANDS */
#define LIMIT_CGROUP_FILE (64 * KIB)
#define LIMIT_JOURNAL (64 * KIB)
#define LIMIT_RECORD (4 * KIB) /* of one preserved root in persistence Node */
#define LIMIT_ROOT_SIZE \
    (8 * 1024 * 1024 * (uint64_t)(1024 * MIB) - 1) /* sizeLimit: what JSON can say exactly */
#define LIMIT_CHECK_REPORT (64 * MIB)
