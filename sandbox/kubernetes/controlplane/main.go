// Command controlplane is etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one binary: it runs the one
// whose name it is called by, as busybox does, so that all four are built and linked once.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CronJob time zones, as in the programs' own mains

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/pkg/controller/job"
)

// The Job controller waits a second before it looks at a Job's pods, and from ten seconds to ten minutes before it
// replaces a failed one. Here each of its waits is shorter by this factor.
const faster = 20

func main() {
	programs := map[string]func() *cobra.Command{
		"kube-apiserver":          apiServer,
		"kube-controller-manager": controllerManager,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	}
	name := filepath.Base(os.Args[0])
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	program, known := programs[name]
	if !known {
		fmt.Fprintln(os.Stderr, "call this binary as etcd, kube-apiserver, kube-controller-manager or kube-scheduler")
		os.Exit(2)
	}
	os.Exit(cli.Run(program()))
}

// controllerManager is kube-controller-manager's own command; Kubernetes exports the Job controller's waits for tests.
func controllerManager() *cobra.Command {
	job.SyncJobBatchPeriod /= faster
	job.DefaultJobApiBackOff /= faster
	job.MaxJobApiBackOff /= faster
	job.DefaultJobPodFailureBackOff /= faster
	job.MaxJobPodFailureBackOff /= faster
	return controllermanager.NewControllerManagerCommand()
}

// apiServer is kube-apiserver's own command but for one setting that no flag reaches: it does not remember for ten seconds
// that a token was good, so that a revoked one is refused at once.
func apiServer() *cobra.Command {
	run := options.NewServerRunOptions()
	run.Authentication.TokenSuccessCacheTTL = 0
	command := &cobra.Command{
		Use:          "kube-apiserver",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			if err := run.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
				return err
			}
			ctx := genericapiserver.SetupSignalContext()
			completed, err := run.Complete(ctx)
			if err != nil {
				return err
			}
			if errs := completed.Validate(); len(errs) != 0 {
				return utilerrors.NewAggregate(errs)
			}
			return apiserver.Run(ctx, completed)
		},
	}
	for _, flags := range run.Flags().FlagSets {
		command.Flags().AddFlagSet(flags)
	}
	return command
}
