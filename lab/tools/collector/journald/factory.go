// SPDX-License-Identifier: GPL-3.0-or-later

// Package journald is the collector's receiver of that name over its published input. The module of the receiver
// itself is not carried by the proxy in the version that all others have.
package journald

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/adapter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator"
	input "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/input/journald"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/receiver"
)

type config struct {
	adapter.BaseConfig `mapstructure:",squash"`
	Input              input.Config `mapstructure:",squash"`
}

type kind struct{}

func (kind) Type() component.Type {
	return component.MustNewType("journald")
}

func (kind) CreateDefaultConfig() component.Config {
	return &config{Input: *input.NewConfig()}
}

func (kind) BaseConfig(given component.Config) adapter.BaseConfig {
	return given.(*config).BaseConfig
}

func (kind) InputConfig(given component.Config) operator.Config {
	return operator.NewConfig(&given.(*config).Input)
}

// NewFactory makes the receiver's factory.
func NewFactory() receiver.Factory {
	return adapter.NewFactory(kind{}, component.StabilityLevelAlpha)
}
