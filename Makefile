# SPDX-License-Identifier: Apache-2.0
#
# StoppableContainer. The names of the targets are an interface: users and CI rely on them.
#
#   make            build the four programs            make check     everything: lint, unit, priv, api, e2e
#   make unit       unit tests                         make priv      tests that need root (mounts)
#   make vm         quotas, and the tests that need root, under Debian 12's stock kernel in a virtual machine
#   make lint       format, warnings, sizes, layers    make api e2e   tests on a real kube-apiserver, a real cluster
#   make demo       the whole life of one SC, shown    make bench     figures against a plain pod
#   make torture    the agent ended, and every call and allocation failed, at every step; TORTURE_SECONDS
#   make soak       starts, stops and crashes for SOAK_SECONDS: is anything lost, left, growing?
#   make upgrade FROM=COMMIT: that commit's system, then this one, back, and again, under StoppableContainers
#   make scale      SCALE (500) StoppableContainers on hollow nodes: what the controller needs
#   make attack     the races of test/priv for long; ATTACK_WALKS, ATTACK_ATTACHES: how many of each
#   make cluster-up | cluster-down | images | deploy | undeploy
#
# Knobs: CC=clang, SANITIZE=1 (ASan and UBSan; separate build directory), V=1 (print commands).

CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
SANITIZE ?= 0
Q        := $(if $(V),,@)

flavour  := $(notdir $(firstword $(CC)))$(if $(filter 1,$(SANITIZE)),-san)
B        := build/$(flavour)

CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I.
WARN     := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wimplicit-function-declaration \
            -Wreturn-type -Wint-conversion -Wincompatible-pointer-types -Wformat=2 -Wswitch-enum -Wundef -Wvla \
            -Wpointer-arith -Wwrite-strings -Wcast-qual -Wold-style-definition -Wnull-dereference
CFLAGS   += -std=gnu11 -O2 -g -fno-strict-aliasing -fstack-protector-strong -fPIE $(WARN)
LDFLAGS  += -pie -Wl,-z,relro,-z,now,--as-needed
ifeq ($(SANITIZE),1)
CFLAGS   += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-null-dereference
LDFLAGS  += -fsanitize=address,undefined
else
CPPFLAGS += -D_FORTIFY_SOURCE=2
endif
DEPFLAGS  = -MMD -MP -MF $(@:.o=.d)

objs = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)))

base_o    := $(call objs,common/base/*.c)
json_o    := $(call objs,common/json/*.c)
hash_o    := $(call objs,common/hash/*.c)
http_o    := $(call objs,common/http/*.c)
kube_o    := $(call objs,common/kube/*.c)
rpc_o     := $(call objs,common/rpc/*.c)
wire_o    := $(call objs,common/wire/*.c)
wrap_lib  := $(filter-out %/main.o %/pause.o,$(call objs,execwrap/*.c))
ctl_o     := $(call objs,controller/*.c)
agent_o   := $(call objs,node-agent/*.c node-agent/csi/*.c node-agent/runtime/*.c node-agent/mounts/*.c)

ctl_lib   := $(filter-out %/main.o,$(ctl_o))
agent_lib := $(filter-out %/main.o,$(agent_o))

LIBS_ctl   := -lcurl -lcjson -lyaml -lmicrohttpd -lcrypto -lm
LIBS_agent := -lcurl -lcjson -lnghttp2 -lmount -lcap -lcrypto -lm
LIBS_all   := -lcurl -lcjson -lyaml -lmicrohttpd -lnghttp2 -lmount -lcap -lcrypto -lm

.PHONY: all check unit priv vm vm-programs api e2e lint demo bench soak upgrade scale fuzz attack torture images deploy undeploy cluster-up cluster-down clean format deps
all: $(B)/sc-controller $(B)/sc-node-agent build/execwrap build/pause

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -c -o $@ $<

$(B)/sc-controller: $(ctl_o) $(kube_o) $(http_o) $(json_o) $(hash_o) $(base_o)
	$(if $(Q),@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_ctl)

$(B)/sc-node-agent: $(agent_o) $(rpc_o) $(wire_o) $(http_o) $(json_o) $(hash_o) $(base_o)
	$(if $(Q),@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_agent)

# The programs that go into other people's pods: static, small, libc only. musl, because glibc's static start-up alone is
# larger than both of them.
MUSL_CC    ?= musl-gcc
TINY_FLAGS := -std=gnu11 -Os -g0 -static -s -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
              -fstack-protector-strong -Wl,--gc-sections -Wl,-z,noexecstack,-z,norelro,-z,noseparate-code $(filter-out -Wnull-dereference,$(WARN))

tiny_deps := $(wildcard execwrap/*.c execwrap/*.h common/wire/*.c common/wire/*.h) common/names.h
tiny_srcs := $(filter-out execwrap/main.c execwrap/pause.c,$(filter %.c,$(tiny_deps)))

build/execwrap: execwrap/main.c $(tiny_deps)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  TINY    $@")
	$(Q)$(MUSL_CC) $(CPPFLAGS) $(TINY_FLAGS) -o $@ $< $(tiny_srcs)

build/pause: execwrap/pause.c $(tiny_deps)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  TINY    $@")
	$(Q)$(MUSL_CC) $(CPPFLAGS) $(TINY_FLAGS) -o $@ $< $(tiny_srcs)

# --- tests -------------------------------------------------------------------------------------------------------------
all_lib := $(ctl_lib) $(agent_lib) $(kube_o) $(rpc_o) $(wire_o) $(wrap_lib) $(http_o) $(json_o) $(hash_o) $(base_o)
unit_bins := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(wildcard test/unit/test_*.c))
priv_bins := $(patsubst test/priv/%.c,$(B)/test/priv/%,$(wildcard test/priv/test_*.c))
# AddressSanitizer has an allocator of its own: those of its build are refused in unit/test_alloc_*.
ifeq ($(SANITIZE),1)
priv_bins := $(filter-out %/test_alloc,$(priv_bins))
endif
vm_bins   := $(patsubst test/vm/%.c,$(B)/test/vm/%,$(wildcard test/vm/test_*.c))

# One archive: each test links only what it uses.
$(B)/libsc.a: $(all_lib)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/test/unit/%: $(B)/test/unit/%.o $(B)/libsc.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_all) -lcriterion

$(B)/test/priv/%: $(B)/test/priv/%.o $(B)/libsc.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_all)

$(B)/test/priv/test_alloc: | $(B)/test/priv/alloc_shim.so
$(B)/test/priv/alloc_shim.so: test/priv/alloc_shim.c test/priv/alloc_shim.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $<

$(B)/test/vm/%: $(B)/test/vm/%.o $(B)/libsc.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_all)

unit: $(unit_bins)
	$(Q)tools/run-tests unit $(B) $(unit_bins)

priv: $(priv_bins) $(B)/sc-node-agent build/execwrap build/pause
	$(Q)tools/run-tests priv $(B) $(priv_bins)

# In a virtual machine with Debian 12's stock kernel: what the kernel here may not have, and the programs of priv. Not the
# races and the tortures, which take long where the processor is emulated.
vm_priv := $(filter-out %/test_attack_walk %/test_attack_attach %/test_alloc %/test_crash %/test_fail %/test_full \
             %/test_leave %/test_name_lookup %/test_usage,$(priv_bins))
vm: export VM_PROGRAMS = $(vm_bins) $(vm_priv)
vm-programs: $(vm_bins) $(vm_priv) $(B)/test/vm/power $(B)/sc-node-agent build/execwrap build/pause
vm: vm-programs
	$(Q)tools/run-tests vm $(B) test/vm/stock_kernel test/vm/power_cut

# The same programs as in priv, which run them for some seconds.
attack: export ATTACK_WALKS ?= 1000000
attack: export ATTACK_ATTACHES ?= 100000
attack: export SC_TEST_TIMEOUT ?= 7200
attack_bins := $(filter %/test_attack_walk %/test_attack_attach,$(priv_bins))
attack: $(attack_bins) build/execwrap
	$(Q)tools/run-tests priv $(B) $(attack_bins)

# The programs of priv and unit that take a sample there, at every step.
torture: export TORTURE_STEP ?= 1
torture: export TORTURE_SECONDS ?= 3600
torture: export SC_TEST_TIMEOUT ?= 7200
torture_bins := $(filter %/test_alloc %/test_crash %/test_fail %/test_full,$(priv_bins))
torture_units := $(filter $(B)/test/unit/test_alloc_%,$(unit_bins))
torture: $(torture_bins) $(torture_units) $(B)/sc-node-agent build/execwrap build/pause
	$(Q)tools/run-tests unit $(B) $(torture_units)
	$(Q)tools/run-tests priv $(B) $(torture_bins)

api: $(B)/sc-controller
	$(Q)tools/ready
	$(Q)tools/run-tests api $(B)

e2e: images
	$(Q)tools/ready system
	$(Q)tools/run-tests e2e $(B)

check:
	$(Q)tools/check

lint:
	$(Q)tools/lint/lint

bench: images
	$(Q)tools/ready system
	$(Q)test/bench/bench
	$(Q)test/bench/files

soak: images
	$(Q)tools/ready system
	$(Q)test/soak/soak

upgrade: images
	$(Q)tools/old-version $(if $(FROM),$(FROM),$(error upgrade: say from where: make upgrade FROM=COMMIT)) >build/upgrade-from
	$(Q)tools/ready system
	$(Q)test/soak/upgrade "$$(tail -n 1 build/upgrade-from)"

scale: export SCALE ?= 500
scale: images
	$(Q)tools/ready system
	$(Q)test/e2e/test_scale.py

fuzz:
	$(Q)tools/fuzz

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# --- cluster -----------------------------------------------------------------------------------------------------------
deps:
	$(Q)tools/install-deps

demo:
	$(Q)tools/demo

cluster-up:
	$(Q)tools/cluster up

cluster-down:
	$(Q)tools/cluster down

images: all
	$(Q)tools/images $(B)

deploy:
	$(Q)tools/deploy apply

undeploy:
	$(Q)tools/deploy delete

clean:
	rm -rf build

-include $(shell find build -path build/old -prune -o -name '*.d' -print 2>/dev/null)
