/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every name that two programs, or a program and a manifest, must agree on.
 */
#pragma once

#define SC_GROUP "stoppablecontainer.xtlsoft.top"
#define SC_VERSION "v1alpha1"
#define SC_API_VERSION SC_GROUP "/" SC_VERSION
#define SC_KIND "StoppableContainer"
#define SC_PLURAL "stoppablecontainers"
#define SCI_KIND "StoppableContainerInstance"
#define SCI_PLURAL "stoppablecontainerinstances"

/* CSI */
#define SC_CSI_DRIVER SC_GROUP
#define SC_VOLUME_NAME "stoppablecontainer" /* name of the inline volume in both pods' specs */
#define SC_MOUNT_DIR "/.stoppablecontainer" /* where it is mounted in every container */
#define SC_SOCKET_FILE "agent.sock"
#define SC_PAUSE_FILE "pause"
#define SC_EXECWRAP_FILE "execwrap"

/* Attach mode Pivot: the directory in a consumer's volume where the new root is until it is the root, and then the
 * old one for a moment. */
#define SC_OLD_ROOT_NAME "old-root"
#define SC_OLD_ROOT_DIR SC_MOUNT_DIR "/" SC_OLD_ROOT_NAME
/* ... and the directory there with a mark for each preserved root of the pod: common/wire/mark.h. */
#define SC_MARKS_NAME "roots"

/* Attach mode Chroot, in a container's own root: where the preserved root is, and the agent's read-only tmpfs
 * with execwrap, the id of the mount that the preserved root is, and the links that lie over the PATH's
 * directories. */
#define SC_CHROOT_ROOT "/rootfs"
#define SC_CHROOT_NAME "chroot"
#define SC_CHROOT_DIR SC_MOUNT_DIR "/" SC_CHROOT_NAME
#define SC_CHROOT_MARK "root"
#define SC_CHROOT_COMMANDS "bin"
#define SC_ATTACH_PIVOT "Pivot"
#define SC_ATTACH_CHROOT "Chroot"

/* Attributes of the inline volume, written by the controller and read by the agent. The instance key is
 * (namespace, instance uid): the namespace is vouched for by the kubelet, never taken from here, except for
 * `reclaim`, which is honoured only from the agent's own namespace. */
#define SC_ATTR_ROLE "role" /* provider | consumer | reclaim */
#define SC_ATTR_INSTANCE "instance" /* uid of the StoppableContainerInstance */
#define SC_ATTR_NAME "name" /* name of the instance */
#define SC_ATTR_NAMESPACE "namespace" /* reclaim only: namespace of the instance */
#define SC_ATTR_CONTAINERS "containers" /* comma-separated container names that have a preserved root */
#define SC_ATTR_READONLY "readOnlyRoots" /* comma-separated: roots given read-only to their container */
#define SC_ATTR_POST_START \
    "postStart" /* consumer, comma-separated: containers whose postStart hook is a process that asks the agent */
#define SC_ATTR_ATTACH "attach" /* Pivot | Chroot */
#define SC_ATTR_PERSISTENCE "persistence" /* Node, on all three kinds of volumes; absent: Provider */
#define SC_ATTR_ROOT "root" /* provider, persistence Node: new | kept */
#define SC_ATTR_SIZE_LIMIT "sizeLimit" /* provider, persistence Node: bytes, decimal; absent: none */
#define SC_ATTR_USE \
    "sizeUse" /* provider, with a sizeLimit: what was told of a limit that is watched; absent: nothing */
#define SC_USE_WITHIN "within"
#define SC_USE_EXCEEDED "exceeded"
#define SC_USE_UNKNOWN "unknown"
#define SC_PERSISTENCE_PROVIDER "Provider"
#define SC_PERSISTENCE_NODE "Node"
#define SC_ROOT_NEW "new" /* no root of this instance has ever been used */
#define SC_ROOT_KEPT "kept" /* one was: it must be there */
#define SC_ROLE_PROVIDER "provider"
#define SC_ROLE_CONSUMER "consumer"
#define SC_ROLE_RECLAIM "reclaim"

/* What the kubelet adds to volume_context (CSIDriver podInfoOnMount, KEP-596). */
#define CSI_POD_NAME "csi.storage.k8s.io/pod.name"
#define CSI_POD_NAMESPACE "csi.storage.k8s.io/pod.namespace"
#define CSI_POD_UID "csi.storage.k8s.io/pod.uid"
#define CSI_EPHEMERAL "csi.storage.k8s.io/ephemeral"

/* Objects */
#define SC_PROVIDER_SUFFIX "-provider" /* provider pod: NAME-provider; consumer pod: NAME */
#define SC_RECLAIM_PREFIX "reclaim-" /* reclaim pod: reclaim-<uid>, in the controller's namespace */
#define SC_NAME_MAX 54 /* so that NAME-provider is a valid pod host name (63) */
#define SC_MAIN_CONTAINER "main" /* the short form's container */
#define SC_FINALIZER SC_GROUP "/cleanup"

#define SC_LABEL_MANAGED_BY SC_GROUP "/managed-by"
#define SC_LABEL_INSTANCE SC_GROUP "/instance"
#define SC_LABEL_ROLE SC_GROUP "/role"
#define SC_MANAGED_BY "sc-controller"
#define SC_ANNOTATION_FINAL_CPU SC_GROUP "/final-cpu" /* of a provider pod that begins larger */
#define SC_ANNOTATION_TEMPLATE_HASH SC_GROUP "/template-hash"
#define SC_ANNOTATION_GENERATION SC_GROUP "/generation" /* of the SC that a consumer pod was made for */

/* Node label by the CSI topology answer: the kubelet writes it, consumers require it. */
#define SC_TOPOLOGY_KEY SC_GROUP "/node"
#define SC_TOPOLOGY_VALUE "v1"
/* Kubernetes': an administrator's word that the node is off and what ran there has ended. */
#define SC_TAINT_OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

/* On the node */
#define SC_STATE_DIR "/var/lib/stoppablecontainer"
#define SC_VOLUMES_DIR "volumes"
#define SC_INSTANCES_DIR "instances"
#define SC_ROOTFS_DIR "rootfs"
/* Persistence Node: the root's own directories and the record that makes it a kept one, beside rootfs; and
 * where an instance's directory is moved to, to be removed. */
#define SC_UPPER_DIR "upper"
#define SC_WORK_DIR "work"
#define SC_RECORD_FILE "root.json"
#define SC_TRASH_DIR "trash"

/* Phases (SC and SCI) */
#define SC_PHASE_PENDING "Pending"
#define SC_PHASE_PROVIDER_STARTING "ProviderStarting"
#define SC_PHASE_PROVIDER_READY "ProviderReady"
#define SC_PHASE_CONSUMER_STARTING "ConsumerStarting"
#define SC_PHASE_RUNNING "Running"
#define SC_PHASE_STOPPING "Stopping"
#define SC_PHASE_STOPPED "Stopped"
#define SC_PHASE_SUCCEEDED "Succeeded"
#define SC_PHASE_FAILED "Failed"

/* Why the agent refuses a provider its root for good, in persistence Node: the termination message of the
 * provider's container is "REASON: sentence". */
#define SC_REASON_ROOT_MISSING "RootMissing"
#define SC_REASON_IMAGE_CHANGED "ImageChanged"
#define SC_REASON_ROOT_UNUSABLE "RootUnusable"
#define SC_REASON_ROOT_HELD "RootHeld" /* an earlier mount of it is still there: asked again */

/* What the agent ends a provider for to have it told, no refusal: the next provider's SC_ATTR_USE says that it
 * was. The limit is only watched, and kept; it is passed; the use cannot be counted. */
#define SC_REASON_LIMIT_WATCHED "SizeLimitWatched"
#define SC_REASON_LIMIT_EXCEEDED "SizeLimitExceeded"
#define SC_REASON_USE_UNKNOWN "SizeUnknown"

/* Conditions */
#define SC_COND_READY "Ready"
#define SC_COND_SCHEDULED "Scheduled"
#define SC_COND_ROOTFS_INTACT "RootfsIntact"
#define SC_COND_RESTART_REQUIRED "RestartRequired"
#define SC_COND_HONORED "Honored"
#define SC_COND_WITHIN_LIMIT "WithinSizeLimit" /* there only where the sizeLimit is watched */
