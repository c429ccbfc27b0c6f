// Reads a repository of both services page by page, and the image of a tag, with the AWS SDK for Go
// v2. Prints both as JSON. The SDK of Debian 12 reads no address from the environment.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
)

type image struct {
	Digest    *string  `json:"digest"`
	Tags      []string `json:"tags"`
	Size      *int64   `json:"size"`
	PushedAt  int64    `json:"pushedAt"`
	MediaType *string  `json:"mediaType"`
}

type read struct {
	Pages []image `json:"pages"`
	ByTag image   `json:"byTag"`
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func private(found ecrtypes.ImageDetail) image {
	return image{
		Digest:    found.ImageDigest,
		Tags:      append([]string{}, found.ImageTags...),
		Size:      found.ImageSizeInBytes,
		PushedAt:  found.ImagePushedAt.Unix(),
		MediaType: found.ImageManifestMediaType,
	}
}

func readPrivate(ctx context.Context, configuration aws.Config, repository, tag *string) read {
	endpoint := ecr.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_ECR"))
	client := ecr.NewFromConfig(configuration, ecr.WithEndpointResolver(endpoint))
	all := &ecr.DescribeImagesInput{RepositoryName: repository}
	var result read
	for pages := ecr.NewDescribeImagesPaginator(client, all); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		must(err)
		for _, found := range page.ImageDetails {
			result.Pages = append(result.Pages, private(found))
		}
	}
	ids := []ecrtypes.ImageIdentifier{{ImageTag: tag}}
	byTag := &ecr.DescribeImagesInput{RepositoryName: repository, ImageIds: ids}
	found, err := client.DescribeImages(ctx, byTag)
	must(err)
	result.ByTag = private(found.ImageDetails[0])
	return result
}

func public(found publictypes.ImageDetail) image {
	return image{
		Digest:    found.ImageDigest,
		Tags:      append([]string{}, found.ImageTags...),
		Size:      found.ImageSizeInBytes,
		PushedAt:  found.ImagePushedAt.Unix(),
		MediaType: found.ImageManifestMediaType,
	}
}

func readPublic(ctx context.Context, configuration aws.Config, repository, tag *string) read {
	endpoint := ecrpublic.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_ECR_PUBLIC"))
	client := ecrpublic.NewFromConfig(configuration, ecrpublic.WithEndpointResolver(endpoint))
	all := &ecrpublic.DescribeImagesInput{RepositoryName: repository}
	var result read
	for pages := ecrpublic.NewDescribeImagesPaginator(client, all); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		must(err)
		for _, found := range page.ImageDetails {
			result.Pages = append(result.Pages, public(found))
		}
	}
	ids := []publictypes.ImageIdentifier{{ImageTag: tag}}
	byTag := &ecrpublic.DescribeImagesInput{RepositoryName: repository, ImageIds: ids}
	found, err := client.DescribeImages(ctx, byTag)
	must(err)
	result.ByTag = public(found.ImageDetails[0])
	return result
}

func main() {
	ctx, repository, tag := context.Background(), &os.Args[1], &os.Args[2]
	configuration, err := config.LoadDefaultConfig(ctx)
	must(err)
	both, err := json.Marshal([]read{
		readPrivate(ctx, configuration, repository, tag),
		readPublic(ctx, configuration, repository, tag),
	})
	must(err)
	fmt.Println(string(both))
}
